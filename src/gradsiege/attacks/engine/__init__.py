"""The hot loop and the parts that recipes are made of."""
