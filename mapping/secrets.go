package mapping

import "regexp"

// secretName is what columns that must not leave the database are commonly called. A table that needs one names it under
// secrets (for webhooks) or hash.
var secretName = regexp.MustCompile(`(?i)(^|_)(secret|secret_data|secret_key|password|password_hash|passwd|passphrase|salt|token|token_hash|` +
	`private_key|pseudo_key|api_key|credential_data|seed|device_code|user_code|code_verifier)$`)
