"""Look: colours, fonts and marks, each declared once in `tokens.py`. No layout and no figure."""
