package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// verifyFlags are the options of verify. Secrets come from a file only: arguments show in the list of processes.
type verifyFlags struct {
	request, headers, body, secrets string
	tolerance                       time.Duration
	at                              string
	asJSON, publicKey               bool
}

func verifyCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	var f verifyFlags
	flags.StringVar(&f.request, "request", "", "a `file` with the whole request as it was captured")
	flags.StringVar(&f.headers, "headers", "", "or a `file` with its headers, as lines of the form Name: value")
	flags.StringVar(&f.body, "body", "", "and a `file` with its body, byte for byte; - or nothing is standard input")
	flags.StringVar(&f.secrets, "secret-file", "", "the `file` with the secret, or a public key; several in several lines")
	flags.DurationVar(&f.tolerance, "tolerance", 5*time.Minute, "how far the request's time may be off, before and after")
	flags.StringVar(&f.at, "at", "", "the `time` to judge it at, in RFC 3339 or Unix seconds, instead of now")
	flags.BoolVar(&f.asJSON, "json", false, "write JSON")
	flags.BoolVar(&f.publicKey, "public-key", false, "print the public keys of the file's whsk_ secrets, and verify nothing")
	return func(_ context.Context, env *environment, args []string) error {
		if len(args) > 0 { // it may be the secret: it is not repeated
			return &usageError{"verify takes options only; the secret is read from a file"}
		}
		secrets, err := f.readSecrets()
		if err != nil {
			return err
		}
		if f.publicKey {
			return printPublicKeys(env.out, secrets)
		}
		return f.verify(env.out, secrets)
	}
}

// verification is what verify writes with --json. Places count from 1.
type verification struct {
	Valid     bool       `json:"valid"`
	Reason    string     `json:"reason,omitempty"` // why it is not valid
	ID        string     `json:"id,omitempty"`
	Sent      *time.Time `json:"sent,omitempty"`
	Scheme    string     `json:"scheme,omitempty"`    // of the signature that matches, valid or not in time
	Signature int        `json:"signature,omitempty"` // its place in the header
	Secret    int        `json:"secret,omitempty"`    // the place of its secret in the file
}

func (f *verifyFlags) verify(out io.Writer, secrets []webhook.Secret) error {
	now, err := f.time()
	if err != nil {
		return err
	}
	if f.tolerance < 0 {
		return &usageError{"--tolerance must not be negative"}
	}
	header, body, err := f.read()
	if err != nil {
		return err
	}
	v, err := webhook.Verify(secrets, header, body, now, f.tolerance)
	if err != nil {
		err = fmt.Errorf("not valid: %w", err)
	}
	if !f.asJSON {
		if err == nil {
			fmt.Fprintf(out, "valid: %s signature %d matches secret %d; id %s, sent %s\n",
				v.Scheme, v.Signature+1, v.Secret+1, v.ID, v.Sent.UTC().Format(time.RFC3339))
		}
		return err
	}
	result := verification{Valid: err == nil}
	if err != nil {
		result.Reason = errors.Unwrap(err).Error()
	}
	if v.Scheme != "" {
		sent := v.Sent.UTC()
		result.ID, result.Sent, result.Scheme, result.Signature, result.Secret = v.ID, &sent, v.Scheme, v.Signature+1, v.Secret+1
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return errors.Join(encoder.Encode(result), err)
}

func printPublicKeys(out io.Writer, secrets []webhook.Secret) error {
	printed := false
	for _, s := range secrets {
		if !strings.HasPrefix(string(s), "whsk_") {
			continue
		}
		key, err := webhook.PublicKey(s)
		if err != nil {
			return &usageError{err.Error()}
		}
		fmt.Fprintln(out, key)
		printed = true
	}
	if !printed {
		return &usageError{"the secret file has no secret that begins with whsk_: the others have no public key"}
	}
	return nil
}

func (f *verifyFlags) readSecrets() ([]webhook.Secret, error) {
	if f.secrets == "" {
		return nil, &usageError{"--secret-file is missing"}
	}
	text, err := os.ReadFile(f.secrets)
	if err != nil {
		return nil, &usageError{fmt.Sprintf("read the secrets: %s", err)}
	}
	var secrets []webhook.Secret
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			continue
		}
		secret := webhook.Secret(line)
		if err := webhook.CheckVerifier(secret); err != nil {
			return nil, &usageError{fmt.Sprintf("%s, secret %d: %s", f.secrets, len(secrets)+1, err)}
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, &usageError{f.secrets + " is empty"}
	}
	return secrets, nil
}

func (f *verifyFlags) time() (time.Time, error) {
	if f.at == "" {
		return time.Now(), nil
	}
	if seconds, err := strconv.ParseInt(f.at, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	at, err := time.Parse(time.RFC3339, f.at)
	if err != nil {
		return time.Time{}, &usageError{"--at must be a time as 2026-11-25T10:30:00Z, or Unix seconds"}
	}
	return at, nil
}

// read returns the captured headers and body.
func (f *verifyFlags) read() (http.Header, []byte, error) {
	switch {
	case f.request != "" && (f.headers != "" || f.body != ""):
		return nil, nil, &usageError{"--request holds headers and body; leave --headers and --body out"}
	case f.request != "":
		return readRequest(f.request)
	case f.headers == "":
		return nil, nil, &usageError{"which request? name it with --request, or with --headers and --body"}
	}
	text, err := os.ReadFile(f.headers)
	if err != nil {
		return nil, nil, &usageError{fmt.Sprintf("read the headers: %s", err)}
	}
	header, err := parseHeaders(string(text))
	if err != nil {
		return nil, nil, &usageError{fmt.Sprintf("%s: %s", f.headers, err)}
	}
	if cmp.Or(f.body, "-") == "-" {
		body, err := io.ReadAll(os.Stdin)
		if err != nil {
			return nil, nil, fmt.Errorf("read the body: %w", err)
		}
		return header, body, nil
	}
	body, err := os.ReadFile(f.body)
	if err != nil {
		return nil, nil, &usageError{fmt.Sprintf("read the body: %s", err)}
	}
	return header, body, nil
}
