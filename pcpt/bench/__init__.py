"""Proofs: tables of runs, computed cell by cell, and the pages made of them. (Speed is
``pcpt.benchmark``.)"""
