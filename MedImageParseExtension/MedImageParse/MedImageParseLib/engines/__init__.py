"""Engines that answer the models' contract on this computer."""
