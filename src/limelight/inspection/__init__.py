"""What a network looks at in many pictures of a class: explanation maps, put in clusters, and how sure these are."""
