package main

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/infra/aws/deployment"
)

func TestProvision_printsWhatTheClusterDecides(t *testing.T) {
	b := newBench(t)
	out := b.succeed(t, "provision", "aws", "analytics", "--account", "111122223333", "--key", "us-east-1="+paymentsKey)
	wantText(t, "the guide", out, "Cluster Operator", "aws secretsmanager put-secret-value --secret-id keyturn-api-key --secret-string file:///dev/stdin", "cluster_account:",
		"aws iam create-role --role-name analytics-cmek", "enable-key-rotation", `"region_specs"`, "keyturn enable 7c1d9e20-3a4b-4c5d-8e6f-000000000006 -f cmek_config.json")
	wantText(t, "the guide for Vault", b.succeed(t, "provision", "vault", "analytics", "--account", "111122223333"), "vault secrets enable keymgmt", "key_collection=us-east-1",
		"could not be tried", "Nothing is written to Vault", "kms:ImportKeyMaterial")

	// The file that the guide prints is the one that enable takes.
	made := decodeJSON[lifecycle.Provisioning](t, b.succeed(t, "provision", "aws", "analytics", "--account", "111122223333", "--key", "us-east-1="+paymentsKey, "-o", "json"))
	file := ""
	for _, f := range made.Files {
		switch f.Name {
		case "cmek_config.json":
			file = b.file(t, f.Name, f.Content)
		case "keyturn.yaml":
			const rest = "hub: {account: \"111122223333\", region: us-east-1}\naccounts: [{id: \"111122223333\"}]\nalerts: {email: [a@example.com]}\noperations: {email: [a@example.com]}\n"
			d, err := deployment.Parse([]byte(rest + f.Content))
			if err != nil || len(d.CMEKKeys) != 1 || d.CMEKKeys[0].ClusterAccount != "900000000006" || d.CockroachDB.OrganizationID != made.Cluster.OrganizationID ||
				d.CMEKKeys[0].Role() != string(made.Principal) {
				t.Errorf("keyturn.yaml is read as %+v (%v):\n%s", d.CMEKKeys, err, f.Content)
			}
		}
	}
	if file == "" {
		t.Fatalf("there is no cmek_config.json among %+v", made.Files)
	}
	o := b.keyturn(t, "provision", "aws", "analytics", "--verify", "-f", file)
	o.wantCode(t, exitNeedsPerson, "provision aws --verify")
	wantText(t, "what is missing", o.out, "us-east-1 key policy: ", "crdb-cmek-kms", "not known  us-east-1 principal")
	// The bench compares each with its schema.
	b.keyturn(t, "provision", "aws", "analytics", "--verify", "-f", file, "-o", "json").wantCode(t, exitNeedsPerson)
	b.keyturn(t, "provision", "vault", "analytics", "--verify", "-f", file, "-o", "json").wantCode(t, exitNeedsPerson)
	b.keyturn(t, "provision", "gcp", "analytics", "--project", "acme-keys", "-o", "json").wantCode(t, exitRefused)
	b.keyturn(t, "restore", "archive", "--dry-run", "-o", "json").wantCode(t, exitNeedsPerson)
	if w := b.writes(); len(w) > 0 {
		t.Errorf("sent %q", w)
	}
}

func TestProvision_refusesWithoutTheFacts(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"aws", "nobody", "--account", "111122223333"}, exitRefused, "none of that name"},
		{[]string{"gcp", "analytics", "--project", "acme-keys"}, exitRefused, "keyturn provision aws analytics"},
		{[]string{"vault", "analytics", "--project", "acme-keys"}, exitRefused, "the cluster is on AWS"},
		{[]string{"aws", "analytics", "--account", "acme"}, exitRefused, "names no account of yours"},
		{[]string{"aws", "analytics", "--verify"}, exitRefused, "no key is named"},
		{[]string{"aws", "analytics"}, exitUsage, "--account"},
		{[]string{"gcp", "analytics"}, exitUsage, "--project"},
		{[]string{"vault", "analytics"}, exitUsage, "--account, or"},
		{[]string{"vault", "analytics", "--account", "111122223333", "--alias", "arn:aws:kms:us-east-1:111122223333:alias/x"}, exitUsage, "--verify"},
		{[]string{"vault", "analytics", "--verify", "--alias", paymentsKey}, exitUsage, "want the ARN of an alias"},
		{[]string{"aws", "analytics", "--account", "111122223333", "-f", "x"}, exitUsage, "-f is for --verify"},
		{[]string{"aws", "analytics", "--account", "111122223333", "--key", "x"}, exitUsage, "want REGION=KEY"},
		{[]string{"aws", "analytics", "--account", "111122223333", "--key", "a=x", "--key", "a=y"}, exitUsage, "twice"},
	} {
		args := append([]string{"provision"}, tt.args...)
		o := b.keyturn(t, args...)
		o.wantCode(t, tt.code, args...)
		wantText(t, strings.Join(args, " "), o.err, tt.says)
		if o.out != "" {
			t.Errorf("%v prints %q", args, o.out)
		}
	}
	// What the cluster runs on is judged without a file. The simulator has no IAM: that is not known, and never fine.
	o := b.keyturn(t, "provision", "vault", "payments", "--verify", "--alias", "arn:aws:kms:us-east-1:111122223333:alias/no-such")
	o.wantCode(t, exitNeedsPerson, "provision vault --verify")
	wantText(t, "the findings", o.out, "the key's origin is AWS_KMS", "no-such was not read")
}
