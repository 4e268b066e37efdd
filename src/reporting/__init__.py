"""What a run tells people: the record of candidates, tables, figures and the report page. Knows no method."""
