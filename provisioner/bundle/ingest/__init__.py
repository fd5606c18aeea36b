"""Files that somebody else has made, taken into a bundle: archives of images and loose files, trusted in nothing."""
