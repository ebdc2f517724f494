package rules

// WebhookSource is the [webhooks] section. A column that the section does not name is -1.
type WebhookSource struct {
	Table                                   *Table
	URL, Name, Description, Headers, Secret int
	Events                                  Collect
}
