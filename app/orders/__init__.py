"""Delivery of approved signals: every attempt is committed before its request is sent."""
