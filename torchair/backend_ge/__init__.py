"""GE engines: emission, loading and running of ge graphs."""
