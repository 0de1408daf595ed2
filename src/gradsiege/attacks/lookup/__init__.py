"""Attacks that choose among given images instead of optimising: the distance of every candidate's update from the received one."""
