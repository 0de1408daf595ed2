"""Where the files of data sets come from: packages, downloads, and folders that a person fills."""
