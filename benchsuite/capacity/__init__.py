"""The highest load that meets its limits: what is asked, one level, and the search over levels."""
