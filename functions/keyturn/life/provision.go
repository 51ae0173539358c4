package life

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
)

// provisionOptions are the flags of the commands "keyturn provision …".
type provisionOptions struct {
	account, project, name string
	keys, aliases          []string
	verify                 bool
	file                   string
	cloud                  cmek.KeyType
	vault                  bool
}

// ProvisionCommand is "keyturn provision".
func (p Commands) ProvisionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "provision",
		Short: "Print what your cloud account needs for a cluster's CMEK, or verify that it is there",
		Example: `  keyturn provision aws analytics --account 111122223333
  keyturn provision gcp billing --project acme-keys
  keyturn provision vault analytics --account 111122223333`,
	}
	c.AddCommand(p.provisionCommand("aws", "on AWS: role, keys, policies", cmek.AWSKMS, false,
		`Print what an AWS account needs for the CMEK of a cluster: the service account at Cockroach Labs first, then the role that the cluster
assumes and a key in each of its regions, as fields of keyturn.yaml for keyturn's stacks, and as commands of the AWS CLI with their
documents in them. What the cluster decides is read from the Cloud API now: its account_id, its regions, the organization's id.

AWS chooses the ids of keys: once they are made, --key REGION=ARN for each prints what is left, and the file for enable.`,
		`  keyturn provision aws analytics --account 111122223333
  keyturn provision aws analytics --account 111122223333 --key us-east-1=KEY_ARN
  keyturn provision aws analytics --verify -f cmek_config.json`),
		p.provisionCommand("gcp", "on Google Cloud: service account, keys, bindings", cmek.GCPCloudKMS, false,
			`Print what a Google Cloud project needs for the CMEK of a cluster: the service account at Cockroach Labs first, then the service account
that the cluster acts as and a key in each of its regions, as a call of keyturn's Terraform module, and as gcloud commands, with the
file for enable. What the cluster decides is read from the Cloud API now: its account_id and its regions.`,
			`  keyturn provision gcp billing --project acme-keys
  keyturn provision gcp billing --verify -f cmek_config.json`),
		p.provisionCommand("vault", "with key material from HashiCorp Vault, on AWS or Google Cloud", "", true,
			`Print how HashiCorp Vault's engine keymgmt makes the keys of a cluster, on the cluster's own cloud: the commands with real names, Vault's
own permissions, and the policies that Vault does not set. keyturn writes nothing to Vault. The engine needs Vault Enterprise, so that
these commands could not be tried.

With --verify the result is judged in the KMS: that the material is imported and does not expire, that Vault's alias points to the
key, and all that is judged of other keys. Cloud KMS shows neither, and has no aliases.`,
			`  keyturn provision vault analytics --account 111122223333
  keyturn provision vault analytics --verify -f cmek.json --alias arn:aws:kms:us-east-1:111122223333:alias/hashicorp/analytics-1`))
	return c
}

func (p Commands) provisionCommand(name, short string, cloud cmek.KeyType, vault bool, long, example string) *cobra.Command {
	o := provisionOptions{cloud: cloud, vault: vault}
	c := &cobra.Command{
		Use:   name + " CLUSTER",
		Short: "Print what is needed " + short + "; with --verify, say what is missing",
		Long: long + `

Nothing is carried out. With --verify the keys of the file are judged, or those that the cluster has: key, policies, principal, each with
what is missing. Exit code 3: something is missing, or could not be read. Exit code 4: the cluster cannot have such keys, or a fact of it
is not there.`,
		Example:           example,
		Args:              o.check,
		ValidArgsFunction: p.CompleteCluster,
		RunE:              func(c *cobra.Command, args []string) error { return p.provision(c.Context(), o, args[0]) },
	}
	if cloud != cmek.GCPCloudKMS {
		c.Flags().StringVar(&o.account, "account", "", "the `id` of your AWS account")
	}
	if cloud != cmek.AWSKMS {
		c.Flags().StringVar(&o.project, "project", "", "the `id` of your Google Cloud project")
	}
	if cloud != cmek.GCPCloudKMS {
		c.Flags().StringArrayVar(&o.keys, "key", nil, "a key that was made, as `REGION=KEY`; repeat for each region")
	}
	if vault {
		c.Flags().StringArrayVar(&o.aliases, "alias", nil, "the `ARN` of Vault's alias of a key, to verify; repeat for each region")
	}
	c.Flags().StringVar(&o.name, "name", "", "begins the `name` of all that is made (default the cluster's)")
	c.Flags().BoolVar(&o.verify, "verify", false, "judge what exists, and say what is missing")
	c.Flags().StringVarP(&o.file, "file", "f", "", "with --verify: the `file` for enable; - reads it from the standard input")
	p.ServerFlag(c)
	p.OutputFlag(c)
	return c
}

func (o *provisionOptions) check(c *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(c, args); err != nil {
		return err
	}
	switch {
	case o.file != "" && !o.verify:
		return errors.New("-f is for --verify")
	case len(o.aliases) > 0 && !o.verify:
		return errors.New("--alias is for --verify")
	case o.verify:
	case o.cloud == cmek.AWSKMS && o.account == "":
		return errors.New("name your AWS account with --account")
	case o.cloud == cmek.GCPCloudKMS && o.project == "":
		return errors.New("name your Google Cloud project with --project")
	case o.vault && (o.account == "") == (o.project == ""):
		return errors.New("name your AWS account with --account, or your Google Cloud project with --project")
	}
	_, err := o.request()
	return err
}

// request is the request of the flags.
func (o provisionOptions) request() (lifecycle.ProvisionRequest, error) {
	r := lifecycle.ProvisionRequest{Type: o.cloud, Account: o.account + o.project, Name: o.name, Vault: o.vault, Keys: map[string]cmek.KeyURI{}, At: time.Now()}
	if o.vault && o.account != "" {
		r.Type = cmek.AWSKMS
	}
	if o.vault && o.project != "" {
		r.Type = cmek.GCPCloudKMS
	}
	for _, alias := range o.aliases {
		uri, err := cmek.ParseKeyURI(alias)
		if err != nil || !uri.IsAlias() || uri.Location() == "" {
			return r, fmt.Errorf("--alias is %q; want the ARN of an alias", alias)
		}
		r.Aliases = append(r.Aliases, uri)
	}
	for _, key := range o.keys {
		region, uri, ok := strings.Cut(key, "=")
		if !ok || region == "" || uri == "" {
			return r, fmt.Errorf("--key is %q; want REGION=KEY", key)
		}
		if _, twice := r.Keys[region]; twice {
			return r, fmt.Errorf("--key names region %s twice", region)
		}
		r.Keys[region] = cmek.KeyURI(uri)
	}
	return r, nil
}

func (p Commands) provision(ctx context.Context, o provisionOptions, wanted string) error {
	r, err := o.request()
	if err != nil {
		return &terminal.ConfigurationError{Problems: err}
	}
	var specs []cmek.RegionSpec
	if o.file != "" {
		data, err := p.readFile(o.file)
		if err != nil {
			return err
		}
		if specs, err = lifecycle.ParseSpecs(data); err != nil {
			return &terminal.ConfigurationError{Problems: fmt.Errorf("%s: %w", o.file, err)}
		}
	}
	return p.onCluster(ctx, operationOptions{dry: true}, wanted, func(f *operations, cluster cmek.Cluster) (err error) {
		r.ClusterID = cluster.ID
		r.Hub, r.Deployment = p.DeploymentName()
		var made lifecycle.Provisioning
		if o.verify {
			made, err = f.Verify(ctx, r, specs)
		} else {
			made, err = f.Provision(ctx, r)
		}
		switch {
		case err != nil:
			return err
		case len(made.Refusals) > 0:
			return p.refuse(cluster, made.Refusals)
		}
		return p.concludeProvision(made, o.verify)
	})
}

func (p Commands) concludeProvision(made lifecycle.Provisioning, verified bool) error {
	if p.JSON {
		if err := p.PrintJSON(made); err != nil {
			return err
		}
	} else {
		p.printProvisioning(made)
	}
	if verified && !made.Complete() {
		return terminal.ErrNeedsPerson
	}
	return nil
}

func (p Commands) printProvisioning(made lifecycle.Provisioning) {
	c := made.Cluster
	terminal.Tell(p.Out, "Cluster %s (%s) on %s: account_id %s, organization %s, regions %s\n", terminal.Printable(c.Name), terminal.Printable(c.ID),
		terminal.Printable(c.CloudProvider), terminal.Printable(c.AccountID), terminal.Printable(c.OrganizationID), terminal.Printable(strings.Join(c.Regions, ", ")))
	for i, step := range made.Steps {
		terminal.Tell(p.Out, "\n%d. %s\n", i+1, terminal.Printable(step.Title))
		for _, line := range step.Lines {
			terminal.Tell(p.Out, "\n%s\n", terminal.Printable(line))
		}
	}
	p.printFindings(made.Findings)
	for _, file := range made.Files {
		terminal.Tell(p.Out, "\n%s: %s\n\n%s", terminal.Printable(file.Name), terminal.Printable(file.Use), terminal.PrintableLines(file.Content))
	}
	if len(made.Findings) > 0 && made.Complete() {
		terminal.Tell(p.Out, "All of it is there.\n")
	}
}
