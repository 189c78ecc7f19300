"""Boxes that are reached through Ray."""
