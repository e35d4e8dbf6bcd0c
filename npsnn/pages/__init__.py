"""Pages and pictures that people look at: HTML files that ask for nothing from outside, and plots in one style."""
