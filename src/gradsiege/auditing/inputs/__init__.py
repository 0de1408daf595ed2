"""Reading a network, weights, pictures, defenses and recorded updates as a user names them on the command line."""
