"""Texts into sounds: providers of speech behind one face, each text spoken once and then kept."""
