"""Preparation that all data sets share: listing, dealing, cropping and resizing of images, and the role splits."""
