package receiver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// verify checks both kinds of signature against the secrets, any of which will do.
func (d *Delivery) verify(secrets []string) {
	if len(secrets) == 0 {
		return
	}
	problems := len(d.Problems)
	if err := d.verifyStandard(secrets); err != nil {
		d.problem("webhook-signature: %v", err)
	}
	d.verifyFerrisKey(secrets)
	d.Verified = len(d.Problems) == problems
}

// verifyStandard leaves it to the library of Standard Webhooks, timestamp included.
func (d *Delivery) verifyStandard(secrets []string) error {
	var err error
	for _, secret := range secrets {
		// A secret that is not in the form of Standard Webhooks is its own key.
		webhook, wrong := standardwebhooks.NewWebhookRaw([]byte(secret))
		if strings.HasPrefix(secret, "whsec_") {
			webhook, wrong = standardwebhooks.NewWebhook(secret)
		}
		if wrong != nil {
			return wrong
		}
		if err = webhook.Verify(d.Body, d.Header); err == nil {
			return nil
		}
	}
	return err
}

// verifyFerrisKey checks the headers of FerrisKey's own deliveries: x-ferriskey-signature is the lower-case hexadecimal
// HMAC-SHA256 of "<x-ferriskey-timestamp>.<body>", keyed with the secret's text.
func (d *Delivery) verifyFerrisKey(secrets []string) {
	timestamp, signature := d.Header.Get("x-ferriskey-timestamp"), d.Header.Get("x-ferriskey-signature")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if age := d.At.Sub(time.Unix(seconds, 0)); err != nil || age.Abs() > 5*time.Minute {
		d.problem("x-ferriskey-timestamp is %q", timestamp)
	}
	if len(d.DeliveryID) != 36 {
		d.problem("x-ferriskey-delivery-id is %q", d.DeliveryID)
	}
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(timestamp + "."))
		mac.Write(d.Body)
		if hmac.Equal([]byte(signature), []byte(hex.EncodeToString(mac.Sum(nil)))) {
			return
		}
	}
	d.problem("x-ferriskey-signature is of none of the secrets")
}
