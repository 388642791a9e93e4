"""The 17 wallpaper groups as data, and images of them."""
