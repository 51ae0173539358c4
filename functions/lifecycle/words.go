package lifecycle

import (
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// words are what people are told to type, in one cloud. words_aws.go and words_gcp.go hold them.
type words struct {
	// create says how a principal is made that does not exist, access and trust how a principal is admitted to a key, and Cockroach Labs to the principal; remove how the access is taken away.
	create, access, remove func(cmek.KeySpec) string
	trust                  func(cmek.KeySpec, cmek.Cluster) string
	// enable are the commands that make an unusable key usable again, by its state.
	enable func(cmek.KeySpec, cmek.Key) string
}

func wordsOf(t cmek.KeyType) words {
	if t == cmek.GCPCloudKMS {
		return gcpWords
	}
	return awsWords
}

func accessFix(spec cmek.KeySpec) string { return wordsOf(spec.Type).access(spec) }
func trustFix(spec cmek.KeySpec, c cmek.Cluster) string {
	return wordsOf(spec.Type).trust(spec, c)
}
func removeAccess(spec cmek.KeySpec) string { return wordsOf(spec.Type).remove(spec) }

func word(s string) string { return alert.ShellWord(s) }
