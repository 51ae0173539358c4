package cmektest

import "testing"

func TestCheckStep_takes_what_can_be_followed(t *testing.T) {
	for _, step := range []string{
		"Wait for two good reads.", "To send the PUT again:", "2 clusters wait.",
		"keyturn retry c-1", "keyturn retry --skip 'c 1'", `aws kms put-key-policy --policy file://p.json --region us-east-1`,
		`printf '%s\n' '{"a":"*"}' > policy.json`, `aws iam get-role --role-name 'it'\''s'`, "gcloud kms keys list --project NAME",
		`keyturn hold orders --for 24h --reason "change freeze"`,
	} {
		if err := checkStep(step); err != nil {
			t.Errorf("%q: %v", step, err)
		}
	}
}

func TestCheckStep_finds_what_cannot_be_pasted(t *testing.T) {
	for _, step := range []string{
		"", " keyturn status", "keyturn retry c-1   (sends the PUT again)", "keyturn status # why", "keyturn status; keyturn plan", "keyturn status &",
		"keyturn status | cat", "! keyturn status", "keyturn polls on.", "keyturn shows `x`", "keyturn status $(id)", "keyturn status $HOME", "A=b keyturn status",
		`keyturn hold x --reason "…"`, "aws kms import-key-material …", "keyturn explain *.json", "keyturn status =x", "keyturn status ~", "keyturn status {a,b}",
		"keyturn status < file", "keyturn status >> file", "keyturn status dynamodb://x?region=y", "keyturn status 'x", "keyturn status\nkeyturn plan",
		"rm -r x", "Sends it again", "Enable the key again: aws kms enable-key.", "keyturn status $'x'", `keyturn status "$x"`, "(keyturn status)",
	} {
		if checkStep(step) == nil {
			t.Errorf("takes %q", step)
		}
	}
}
