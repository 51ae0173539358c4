package cmektest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Unread is a document that was named and could not be read.
type Unread struct {
	Name string
	Err  error
}

// ReadPolicies reads all documents that decide about a use, until what was read names nothing more. unread are those that could not be
// read, in the order of reading.
func ReadPolicies(ctx context.Context, policies cmek.Policies, use cmek.Use) (texts map[string]string, unread []Unread) {
	texts = map[string]string{}
	for tried := map[string]bool{}; ; {
		before := len(tried)
		for _, name := range policies.Deciding(use, texts) {
			if tried[name] {
				continue
			}
			tried[name] = true
			text, err := policies.Document(ctx, name)
			if err != nil {
				unread = append(unread, Unread{name, err})
				continue
			}
			texts[name] = text
		}
		if len(tried) == before {
			return texts, unread
		}
	}
}

// PolicyCondition is a situation in which the suite wants to read policies.
type PolicyCondition string

// The conditions.
const (
	PoliciesReadable  PolicyCondition = "everything may be read"
	PrincipalMissing  PolicyCondition = "the principal does not exist"
	KeyPolicyDenied   PolicyCondition = "the key's policy may not be read"
	PoliciesGarbled   PolicyCondition = "what answers is not the provider"
	PoliciesOfAnother PolicyCondition = "the key is another cloud's"
)

// ArrangedPolicies are the policies of a use in the condition asked for.
type ArrangedPolicies struct {
	Policies cmek.Policies
	Use      cmek.Use
	// KeyPolicy and Principal are the names of the documents of the key and of the principal itself.
	KeyPolicy, Principal string
}

// PoliciesConform checks that documents are named and read as the port says.
func PoliciesConform(t *testing.T, arrange func(t *testing.T, condition PolicyCondition) ArrangedPolicies) {
	read := func(t *testing.T, condition PolicyCondition) (a ArrangedPolicies, texts map[string]string, unread map[string]error) {
		a = arrange(t, condition)
		texts, failed := ReadPolicies(t.Context(), a.Policies, a.Use)
		unread = map[string]error{}
		for _, u := range failed {
			unread[u.Name] = u.Err
		}
		names := a.Policies.Deciding(a.Use, texts)
		if again := a.Policies.Deciding(a.Use, texts); !slices.Equal(names, again) {
			t.Errorf("the same documents are named %q and %q", names, again)
		}
		if once := slices.Compact(slices.Sorted(slices.Values(names))); len(once) != len(names) {
			t.Errorf("some are named twice: %q", names)
		}
		for name, text := range texts {
			if text == "" {
				t.Errorf("%s was read as an empty text", name)
			}
			if again, err := a.Policies.Document(t.Context(), name); err != nil || again != text {
				t.Errorf("%s reads %q and then %q, error %v: what did not change must read the same", name, text, again, err)
			}
		}
		return a, texts, unread
	}
	t.Run(string(PoliciesReadable), func(t *testing.T) {
		a, texts, unread := read(t, PoliciesReadable)
		if len(unread) > 0 || texts[a.KeyPolicy] == "" || texts[a.Principal] == "" {
			t.Errorf("unread are %v; want nothing, and the texts of %s and %s", unread, a.KeyPolicy, a.Principal)
		}
		if first := a.Policies.Deciding(a.Use, nil); !slices.Contains(first, a.KeyPolicy) || !slices.Contains(first, a.Principal) {
			t.Errorf("named before anything was read are %q, want among them %s and %s", first, a.KeyPolicy, a.Principal)
		}
	})
	t.Run(string(PrincipalMissing), func(t *testing.T) {
		if a, _, unread := read(t, PrincipalMissing); !errors.Is(unread[a.Principal], cmek.ErrNotFound) {
			t.Errorf("the error about %s is %v, want ErrNotFound", a.Principal, unread[a.Principal])
		}
	})
	t.Run(string(KeyPolicyDenied), func(t *testing.T) {
		a, texts, unread := read(t, KeyPolicyDenied)
		if err := unread[a.KeyPolicy]; !errors.Is(err, cmek.ErrDenied) || errors.Is(err, cmek.ErrNotFound) {
			t.Errorf("the error about %s is %v, want ErrDenied", a.KeyPolicy, err)
		}
		if texts[a.Principal] == "" {
			t.Errorf("%s was not read beside a document that may not be: %v", a.Principal, unread)
		}
	})
	t.Run(string(PoliciesGarbled), func(t *testing.T) {
		if _, texts, unread := read(t, PoliciesGarbled); len(texts) > 0 || len(unread) == 0 {
			t.Errorf("read are %v, unread %v; want no text", texts, unread)
		}
	})
	t.Run(string(PoliciesOfAnother), func(t *testing.T) {
		if _, texts, unread := read(t, PoliciesOfAnother); len(texts)+len(unread) > 0 {
			t.Errorf("read are %v, unread %v; want that nothing is named", texts, unread)
		}
	})
}
