package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Credentials authenticate the relay to the endpoint, besides signatures, and the endpoint to the relay. They contain secrets and
// must not be logged.
type Credentials struct {
	// CA holds PEM certificates that verify the endpoint instead of the system's.
	CA string `json:"ca,omitempty"`
	// ClientCert and ClientKey, in PEM, authenticate the relay (mTLS).
	ClientCert string `json:"client_cert,omitempty"`
	ClientKey  string `json:"client_key,omitempty"`
	// Bearer is a token for the Authorization header.
	Bearer string `json:"bearer,omitempty"`
	// OAuth2 fetches bearer tokens; nil if it is not used.
	OAuth2 *OAuth2 `json:"oauth2,omitempty"`
}

// OAuth2 configures a client-credentials grant (RFC 6749, section 4.4).
type OAuth2 struct {
	TokenURL     string   `json:"token_url"`
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	Scopes       []string `json:"scopes,omitempty"`
}

// String redacts.
func (c Credentials) String() string { return redacted }

// GoString keeps %#v from printing the secrets.
func (c Credentials) GoString() string { return redacted }

// JSON returns the form in which credentials are stored, encrypted if a key is configured; empty if there are none.
func (c *Credentials) JSON() string {
	if *c == (Credentials{}) {
		return ""
	}
	return mustMarshal(c)
}

// ParseCredentials parses the result of Credentials.JSON. The error does not contain the text.
func ParseCredentials(text string) (Credentials, error) {
	var c Credentials
	if text == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return Credentials{}, errors.New("the stored credentials of a webhook are in a format that this version does not support; upgrade the relay")
	}
	return c, nil
}

// CredentialsProblem is a mistake in an endpoint's credentials. It does not contain any of them.
type CredentialsProblem struct {
	// Field is the JSON name of the field: ca, client_cert, client_key, bearer, oauth2, oauth2.token_url, …
	Field string
	Text  string
}

func (p CredentialsProblem) Error() string { return p.Field + ": " + p.Text }

// CheckCredentials returns the mistakes in the endpoint's credentials, for a Sender with that configuration.
func (e *Endpoint) CheckCredentials(cfg SenderConfig) []CredentialsProblem {
	g, err := newGuard(cfg.AllowNetworks)
	if err != nil {
		return []CredentialsProblem{{"oauth2.token_url", err.Error()}}
	}
	return e.checkCredentials(cfg.AllowHTTP, g)
}

func (e *Endpoint) checkCredentials(allowHTTP bool, g *guard) []CredentialsProblem {
	c := &e.Credentials
	var problems []CredentialsProblem
	add := func(field, text string) { problems = append(problems, CredentialsProblem{field, text}) }
	if c.CA != "" {
		if _, err := certPool(c.CA); err != nil {
			add("ca", err.Error())
		}
	}
	if c.ClientCert != "" || c.ClientKey != "" {
		if _, err := clientCertificate(c.ClientCert, c.ClientKey); err != nil {
			field := "client_cert"
			if _, certErr := certPool(c.ClientCert); c.ClientCert == "" || certErr == nil && c.ClientKey != "" {
				field = "client_key"
			}
			add(field, err.Error())
		}
	}
	if strings.HasPrefix(strings.ToLower(cleanURL(e.URL)), "http://") && (c.CA != "" || c.ClientCert != "") {
		field := "ca"
		if c.CA == "" {
			field = "client_cert"
		}
		add(field, "requires a URL that begins with https://; change the URL or remove the certificate")
	}
	authorizations := 0
	for name := range e.Headers {
		if http.CanonicalHeaderKey(name) == headerAuthorization {
			authorizations++
		}
	}
	if c.OAuth2 != nil {
		authorizations++
		problems = append(problems, c.OAuth2.check(allowHTTP, g)...)
		if authorizations > 1 {
			add("oauth2", "conflicts with the Authorization header of the webhook; remove one of them")
		}
	}
	if c.Bearer != "" {
		if authorizations++; authorizations > 1 {
			add("bearer", "conflicts with oauth2 or with the Authorization header of the webhook; keep only one of them")
		} else if !isBearerToken(c.Bearer) {
			add("bearer", "contains a space, a line break or another character that is not allowed in a token; check how it was copied")
		}
	}
	return problems
}

func (o *OAuth2) check(allowHTTP bool, g *guard) []CredentialsProblem {
	var problems []CredentialsProblem
	if err := checkURL(o.TokenURL, allowHTTP, g); err != nil {
		problems = append(problems, CredentialsProblem{"oauth2.token_url", err.Error()})
	}
	if o.ClientID == "" {
		problems = append(problems, CredentialsProblem{"oauth2.client_id", "is missing; set it"})
	}
	if o.ClientSecret == "" {
		problems = append(problems, CredentialsProblem{"oauth2.client_secret", "is missing; set it"})
	}
	return problems
}

// isBearerToken accepts more characters than RFC 6750, section 2.1, because such tokens are in use.
func isBearerToken(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// joinProblems combines the problems into one error; nil if there are none.
func joinProblems(problems []CredentialsProblem) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = fmt.Errorf("credentials: %w", p)
	}
	return errors.Join(errs...)
}
