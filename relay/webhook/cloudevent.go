package webhook

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// The headers of CloudEvents 1.0 in binary content mode. The body is the unchanged event data; Content-Type is datacontenttype.
const (
	headerCESpecVersion = "Ce-Specversion"
	headerCEID          = "Ce-Id"
	headerCEType        = "Ce-Type"
	headerCESource      = "Ce-Source"
	headerCETime        = "Ce-Time"
	headerCESubject     = "Ce-Subject"

	// maxCESubject limits the encoded subject, maxCETenant the tenant within the source: keys have any length, but many servers
	// reject requests with more than 8 kB of headers.
	maxCESubject, maxCETenant = 1024, 255

	// cloudEventHeaders is the number of these headers that differ between deliveries.
	cloudEventHeaders = 5
)

// CheckCloudEventsSource returns why source cannot be SenderConfig.CloudEventsSource, which must be a URI reference.
func CheckCloudEventsSource(source string) error {
	if u, err := url.Parse(source); err != nil || source == "" || len(source) > 255 || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		strings.ContainsFunc(source, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r) }) {
		return errors.New(`must be a URI or a path without query and fragment, such as "https://iam.example.com" or "iam-relay"`)
	}
	return nil
}

// setCloudEvent sets the attributes that differ between events. It omits an empty subject, because CloudEvents has no empty
// attributes, and one that is too long, because a truncated key would be another key; the body contains it. The source is
// mandatory, so a long tenant is replaced by its hash.
func (t *Target) setCloudEvent(m *Message, set func(name, value string)) {
	source := t.source
	if m.Tenant != "" {
		tenant := url.PathEscape(m.Tenant)
		if len(tenant) > maxCETenant {
			tenant = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(m.Tenant)))
		}
		source = strings.TrimSuffix(source, "/") + "/" + tenant
	}
	set(headerCEID, ceValue(m.ID))
	set(headerCEType, ceValue(m.Event))
	set(headerCESource, ceValue(source))
	set(headerCETime, m.Occurred.UTC().Format(time.RFC3339Nano))
	if m.Resource != "" && len(m.Resource) <= maxCESubject {
		if subject := ceValue(m.Resource); len(subject) <= maxCESubject {
			set(headerCESubject, subject)
		}
	}
}

// ceValue encodes an attribute for a header. It percent-encodes spaces, double quotes, percent signs and the UTF-8 bytes of
// everything outside printable ASCII (CloudEvents HTTP binding, section 3.1.3.2).
func ceValue(value string) string {
	if !strings.ContainsFunc(value, ceEncoded) {
		return value
	}
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; ceEncoded(rune(c)) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func ceEncoded(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '%' }
