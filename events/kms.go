package events

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// kmsDetail is the detail of an event that AWS KMS sends by itself
// (docs.aws.amazon.com/kms/latest/developerguide/kms-events.html). Older editions carry key-id only.
type kmsDetail struct {
	KeyID                 string `json:"key-id"`
	CurrentKeyMaterialID  string `json:"current-key-material-id"`
	PreviousKeyMaterialID string `json:"previous-key-material-id"`
}

// rotationNotice reads "KMS CMK Rotation": the material of a key was rotated, by schedule or on demand.
func rotationNotice(n *notice) (cmek.Event, error) {
	d := &n.Detail
	return rotation{
		id:        n.ID,
		resources: n.Resources,
		keyID:     d.KeyID,
		region:    n.Region,
		account:   n.Account,
		current:   d.CurrentKeyMaterialID,
		previous:  d.PreviousKeyMaterialID,
		time:      n.Time,
	}.event()
}

// rotateKeyRecord reads "RotateKey", CloudTrail's record of the same happening
// (docs.aws.amazon.com/kms/latest/developerguide/ct-rotatekey.html). Its editions name the key in three places; the
// material ids are missing before 2025.
func rotateKeyRecord(n *notice) (cmek.Event, error) {
	d := &n.Detail
	if err := d.check("kms.amazonaws.com", "AwsServiceEvent"); err != nil {
		return cmek.Event{}, err
	}
	var resources []string
	for _, r := range d.Resources {
		if arn := cmp.Or(r.ARN, r.Normalised); arn != "" {
			resources = append(resources, arn)
		}
	}
	return rotation{
		id:        d.EventID,
		resources: resources,
		keyID:     cmp.Or(d.ResponseElements.KeyID, d.ServiceEventDetails.KeyID),
		region:    cmp.Or(d.AWSRegion, n.Region),
		account:   cmp.Or(d.RecipientAccountID, n.Account),
		current:   d.ServiceEventDetails.CurrentKeyMaterialID,
		previous:  d.ServiceEventDetails.PreviousKeyMaterialID,
		time:      cmp.Or(d.EventTime, n.Time),
	}.event()
}

// rotation is what both notices of a rotation tell, as it came.
type rotation struct {
	id                     string
	resources              []string
	keyID, region, account string
	current, previous      string
	time                   string
}

func (r rotation) event() (cmek.Event, error) {
	key, err := kmsKey(r.resources, r.keyID, r.region, r.account)
	if err != nil {
		return cmek.Event{}, err
	}
	err = cmp.Or(
		identifier("event id", r.id),
		identifier("current key material id", r.current),
		identifier("previous key material id", r.previous),
	)
	if err != nil {
		return cmek.Event{}, err
	}
	return cmek.Event{
		ID:       r.id,
		Key:      key,
		Version:  cmek.MaterialVersion(r.current),
		Previous: cmek.MaterialVersion(r.previous),
		Time:     instant(r.time),
		Account:  key.Account(),
		Region:   key.Location(),
	}, nil
}

// kmsKey finds the key that a notice concerns: the first key ARN among its resources or, if it lists none, the key id at
// the Region and account of the notice. The ARN is trusted over the notice's own Region: the two differ even in AWS'
// examples. An alias is not a key, since it may name another one by now; ARNs of other services are not for us.
func kmsKey(resources []string, keyID, region, account string) (cmek.KeyURI, error) {
	if len(resources) == 0 {
		if keyID == "" {
			return "", errors.New("the key is missing: neither resources nor a key id")
		}
		return keyARN(cmek.AWSKeyARN(partition(region), region, account, keyID))
	}
	refused := errNotForUs
	for _, resource := range resources {
		if otherService(resource) {
			continue
		}
		uri, err := keyARN(cmek.ParseKeyURI(resource))
		if err == nil {
			return uri, nil
		}
		refused = fmt.Errorf("resources: %w", err)
	}
	return "", refused
}

// keyARN passes on a parsed URI if it is the ARN of one key in one Region, fit for logs and for a call to KMS.
func keyARN(uri cmek.KeyURI, err error) (cmek.KeyURI, error) {
	// No KMS key ARN comes near this length.
	const longest = 256
	switch quoted := clip(string(uri)); {
	case err != nil:
		return "", err
	case uri.Type() != cmek.AWSKMS:
		return "", fmt.Errorf("%q is not the ARN of an AWS KMS key", quoted)
	case uri.IsAlias():
		return "", fmt.Errorf("%q is an alias, want the ARN of a key", quoted)
	case uri.Location() == "":
		return "", fmt.Errorf("%q names no Region", quoted)
	case len(uri) > longest, strings.Trim(string(uri), letters+digits+":/-") != "":
		return "", fmt.Errorf("%q is too long for a key ARN, or holds characters that none has", quoted)
	}
	return uri, nil
}

// otherService reports whether s is an ARN that is not one of AWS KMS.
func otherService(s string) bool {
	parts := strings.SplitN(s, ":", 4)
	return len(parts) == 4 && parts[0] == "arn" && parts[2] != "kms"
}

// partition is the ARN partition of a Region (docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html).
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}
