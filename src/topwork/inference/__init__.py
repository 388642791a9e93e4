"""How a classifier answers for images, and whether it answers everywhere alike."""
