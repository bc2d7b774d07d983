"""Runs as text for people and programs: values in, text out; nothing here measures or writes files."""
