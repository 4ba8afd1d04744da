"""Validation, estimation and editing of what the database holds: findings, proposals, approvals, true-up."""
