package webhook

import "regexp"

// IsTenantName reports whether a webhook may call its tenant by this text as a name. A text in the form of a UUID is a key and never
// a name: otherwise a tenant could be given a name that is another tenant's key. AllTenants is not a name either.
func IsTenantName(tenant string) bool {
	return tenant != "" && tenant != AllTenants && !IsUUID(tenant)
}

// IsUUID reports whether the text has the form of a UUID, in either case.
func IsUUID(text string) bool { return uuidForm.MatchString(text) }

var uuidForm = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
