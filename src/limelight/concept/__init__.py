"""What a layer sees, beside where: concepts are its channels, or parts that recur in several pictures."""
