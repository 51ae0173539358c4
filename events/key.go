package events

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// keyOfNotice reads what KMS sends by itself. Older editions carry key-id only
// (docs.aws.amazon.com/kms/latest/developerguide/kms-events.html).
func keyOfNotice(n *notice, e *cmek.Event) error {
	d := &n.Detail.kmsDetail
	if err := concern(e, append(slices.Clone(n.Resources), d.KeyID)); err != nil {
		return err
	}
	e.Version, e.Previous = cmek.MaterialVersion(d.CurrentKeyMaterialID), cmek.MaterialVersion(d.PreviousKeyMaterialID)
	return nil
}

// materialOfNotice reads what KMS sends about one of the materials of a key.
func materialOfNotice(n *notice, e *cmek.Event) error {
	setParameter(e, "key_material_id", n.Detail.KeyMaterialID)
	return keyOfNotice(n, e)
}

// keyOfRecord reads CloudTrail's records of KMS. Where they name the key differs from call to call and from year to year,
// and a call that failed may name it in its error message alone
// (docs.aws.amazon.com/kms/latest/developerguide/understanding-kms-entries.html).
func keyOfRecord(n *notice, e *cmek.Event) error {
	r := &n.Detail.record
	var names []string
	for _, resource := range r.Resources {
		if arn := resource.arn(); resource.Type == "AWS::KMS::Key" || strings.Contains(arn, ":key/") {
			names = append(names, arn)
		}
	}
	req, resp, own := r.RequestParameters, r.ResponseElements, r.ServiceEventDetails
	if arn := resp.text("keyId"); strings.HasPrefix(arn, "arn:") {
		names = append(names, arn)
	}
	names = append(names,
		resp.object("keyMetadata").text("arn"),
		req.text("keyId"), req.text("targetKeyId"), req.text("destinationKeyId"), req.text("sourceKeyId"),
		own.text("keyId"), req.text("aliasName"))
	// Callers choose parts of the message before what they were denied on.
	if _, on, denied := strings.Cut(r.ErrorMessage, onResource); denied {
		names = slices.AppendSeq(names, arnsIn(on))
	} else {
		names = slices.AppendSeq(names, arnsIn(r.ErrorMessage))
	}
	e.Version = cmek.MaterialVersion(own.text("currentKeyMaterialId"))
	e.Previous = cmek.MaterialVersion(own.text("previousKeyMaterialId"))
	if err := concern(e, names); err != nil {
		return err
	}
	managed(e, r)
	return nil
}

// managed names a key that AWS manages for one of its services by the alias that the call used: nobody but AWS can give such
// an alias to a key. A record that lists several keys is about all of them.
func managed(e *cmek.Event, r *record) {
	uri, err := keyARN(cmek.AWSKeyARN(partition(e.Region), e.Region, e.Account, r.RequestParameters.text("keyId")))
	if err != nil || !uri.AWSManaged() {
		return
	}
	for _, resource := range r.Resources {
		if named := resource.arn(); strings.Contains(named, ":key/") && named != string(e.Key) {
			return
		}
	}
	e.Key, e.Account, e.Region = uri, uri.Account(), uri.Location()
}

// otherKey is a key that a record lists beside one: ReEncrypt lists the key that it encrypts under and the one that it decrypts under
// (docs.aws.amazon.com/kms/latest/developerguide/ct-reencrypt.html); "" if it lists no other.
func otherKey(r *record, one cmek.KeyURI) cmek.KeyURI {
	for _, resource := range r.Resources {
		uri, err := keyARN(cmek.AWSKeyARN("", "", "", resource.arn()))
		if err == nil && !uri.IsAlias() && uri != one && strings.HasPrefix(resource.arn(), "arn:") {
			return uri
		}
	}
	return ""
}

// rotated adds to a reader what everybody who follows a rotation relies on: it names one key, and what it holds of the
// key's versions is fit to be compared.
func rotated(read reader) reader {
	return func(n *notice, e *cmek.Event) error {
		if err := read(n, e); err != nil {
			return err
		}
		switch {
		case e.Key == "":
			return errors.New("the key is missing: neither resources nor a key id")
		case e.Key.IsAlias():
			return fmt.Errorf("%q is an alias, want the ARN of a key", clip(string(e.Key)))
		}
		if err := identifier("current key material id", e.Version.ID); err != nil {
			return err
		}
		return identifier("previous key material id", e.Previous.ID)
	}
}

// concern sets the event's key to the first of the names that is one: an ARN, or a key id at the event's Region and
// account. The ARN is trusted over the event's own Region: the two differ even in AWS' examples. An alias may name another
// key by now, so it is taken only where no key is named. ARNs of other services are passed over. A name that is neither
// is an error, unless the call failed: then it may be just what was wrong with it.
func concern(e *cmek.Event, names []string) error {
	var alias cmek.KeyURI
	for _, name := range names {
		if name == "" || otherService(name) {
			continue
		}
		uri, err := keyARN(cmek.AWSKeyARN(partition(e.Region), e.Region, e.Account, name))
		switch {
		case err != nil && e.Error == "":
			return fmt.Errorf("name of the key: %w", err)
		case err != nil:
		case !uri.IsAlias():
			e.Key, e.Account, e.Region = uri, uri.Account(), uri.Location()
			return nil
		case alias == "":
			alias = uri
		}
	}
	if alias != "" {
		e.Key, e.Account, e.Region = alias, alias.Account(), alias.Location()
	}
	return nil
}

// keyARN passes on a parsed URI if it is the ARN of a key or an alias in one Region, fit for logs and for a call to KMS.
func keyARN(uri cmek.KeyURI, err error) (cmek.KeyURI, error) {
	// No KMS ARN comes near this length: an alias has at most 256 characters.
	const longest = 512
	switch quoted := clip(string(uri)); {
	case err != nil:
		return "", err
	case uri.Location() == "":
		return "", fmt.Errorf("%q names no Region", quoted)
	case len(uri) > longest, strings.Trim(string(uri), arnRunes) != "":
		return "", fmt.Errorf("%q is too long for a key ARN, or holds characters that none has", quoted)
	}
	return uri, nil
}

// arnsIn finds the ARNs in a sentence.
func arnsIn(sentence string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for word := range strings.FieldsFuncSeq(sentence, func(r rune) bool { return !strings.ContainsRune(arnRunes, r) }) {
			if strings.HasPrefix(word, "arn:") && !yield(strings.TrimRight(word, ":")) {
				return
			}
		}
	}
}

// otherService reports whether s is an ARN that is not one of AWS KMS.
func otherService(s string) bool {
	parts := strings.SplitN(s, ":", 4)
	return len(parts) == 4 && parts[0] == "arn" && parts[2] != "kms"
}

// partitions are the partitions of AWS (docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html).
var partitions = []string{"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"}

// partition is the ARN partition of a Region, by the beginning of the Region's name.
func partition(region string) string {
	for _, p := range [...]struct{ prefix, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"}, {"eu-isoe-", "aws-iso-e"},
		{"us-isof-", "aws-iso-f"}, {"eu-isof-", "aws-iso-f"}, {"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}

const (
	// arnRunes are the characters of the ARNs of KMS keys and aliases, roleRunes those of the names of roles.
	arnRunes  = letters + digits + ":/_-"
	roleRunes = letters + digits + "_+=,.@-"

	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)
