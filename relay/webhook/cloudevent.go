package webhook

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// The headers of the binary content mode of CloudEvents 1.0. The body is the event's data as it is; its content-type is the event's
// datacontenttype.
const (
	headerCESpecVersion = "Ce-Specversion"
	headerCEID          = "Ce-Id"
	headerCEType        = "Ce-Type"
	headerCESource      = "Ce-Source"
	headerCETime        = "Ce-Time"
	headerCESubject     = "Ce-Subject"

	// maxCESubject bounds an encoded subject, maxCETenant the part of a source that is the tenant: keys may have any length, but many
	// servers refuse requests with more than 8 kB of headers.
	maxCESubject, maxCETenant = 1024, 255

	// cloudEventHeaders is how many of them differ from delivery to delivery.
	cloudEventHeaders = 5
)

// CheckCloudEventsSource reports why a text cannot be SenderConfig.CloudEventsSource: CloudEvents wants a URI reference.
func CheckCloudEventsSource(source string) error {
	if u, err := url.Parse(source); err != nil || source == "" || len(source) > 255 || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		strings.ContainsFunc(source, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r) }) {
		return errors.New(`the source of CloudEvents must be a URI or the path of one, as "iam-relay" or "https://iam.example.com", without query or fragment`)
	}
	return nil
}

// setCloudEvent sets the attributes that differ from event to event. An attribute without a value is left out: CloudEvents knows no
// empty ones. A subject that is too long is left out, too, since a part of a key would be another key; receivers have it in the body. A
// source cannot be left out, so a long tenant is in it as a hash.
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

// ceValue encodes an attribute's value for a header: a space, a double quote, a percent sign and everything outside of printable
// ASCII, as the percent-encoded bytes of its UTF-8 (CloudEvents HTTP binding, section 3.1.3.2).
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
