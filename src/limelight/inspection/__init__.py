"""What a network relies on, over a whole data set: strategies that its maps show, and what happens without them."""
