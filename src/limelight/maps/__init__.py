"""The methods: one file each, found by their decorator."""
