package simulator

import (
	"maps"
	"regexp"
	"strings"
)

// mostTags is how many tags a key has at most: docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html.
const mostTags = 50

type keyTag struct{ TagKey, TagValue string }

var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// checkTags is the error for tags that no key can have: docs.aws.amazon.com/kms/latest/APIReference/API_Tag.html.
func checkTags(tags []keyTag) *kmsError {
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case seen[t.TagKey]:
			return refused("TagException", "Duplicate tag keys: %s", t.TagKey)
		case strings.HasPrefix(strings.ToLower(t.TagKey), "aws:"):
			return refused("TagException", "aws: prefixed tag key names are not allowed for external use.")
		case !tagText.MatchString(t.TagKey) || !tagText.MatchString(t.TagValue):
			return refused("TagException", "Tag keys and values hold letters, digits, spaces and _ . : / = + - @ only.")
		}
		seen[t.TagKey] = true
	}
	if len(tags) > mostTags {
		return tooManyTags()
	}
	return nil
}

func tooManyTags() *kmsError {
	return refused("LimitExceededException", "A key has at most %d tags.", mostTags)
}

// tagged is the tags of a new key.
func tagged(tags []keyTag) map[string]string {
	set := map[string]string{}
	for _, t := range tags {
		set[t.TagKey] = t.TagValue
	}
	return set
}

func (w *World) tagResource(c *kmsCall, k *awsKey) (any, *kmsError) {
	if k.pendingDeletion() {
		return nil, k.invalidState()
	}
	if failed := checkTags(c.input.Tags); failed != nil {
		return nil, failed
	}
	tags := tagged(c.input.Tags)
	for name, value := range k.tags {
		if _, replaced := tags[name]; !replaced {
			tags[name] = value
		}
	}
	if len(tags) > mostTags {
		return nil, tooManyTags()
	}
	k.tags = tags
	return nil, nil
}

// untagResource takes tags away; those that the key does not have are no error.
func (w *World) untagResource(c *kmsCall, k *awsKey) (any, *kmsError) {
	if k.pendingDeletion() {
		return nil, k.invalidState()
	}
	k.tags = maps.Clone(k.tags)
	for _, name := range c.input.TagKeys {
		delete(k.tags, name)
	}
	return nil, nil
}

type tagsOutput struct {
	Tags       []keyTag
	Truncated  bool
	NextMarker string `json:",omitempty"`
}

func (w *World) listResourceTags(c *kmsCall, k *awsKey) (any, *kmsError) {
	tags := []keyTag{}
	for _, name := range sortedKeys(k.tags) {
		tags = append(tags, keyTag{name, k.tags[name]})
	}
	page, next, failed := kmsPage(c, tags, mostTags, mostTags)
	return tagsOutput{page, next != "", next}, failed
}
