"""Pictures of the panels, as a person sees them beside the views."""
