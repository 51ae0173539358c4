package life

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// EnableCommand is "keyturn enable".
func (p Commands) EnableCommand() *cobra.Command {
	var o operationOptions
	var file string
	c := &cobra.Command{
		Use:   "enable CLUSTER -f FILE",
		Short: "Enable CMEK on a cluster, with the file of the vendor's documentation",
		Long: `Enable CMEK on a cluster: a POST with the file that the vendor's documentation describes, an object with
region_specs or the array alone. Before anything is sent it is checked that the cluster is ADVANCED, idle and without CMEK, that
every region has one key of the right cloud, and that each key is in the region, enabled, symmetric, and admits the principal.

Changes of policies take minutes to spread: a request that is refused for it is sent again for ten minutes. The command
waits for the end and keeps evidence. Run again, it watches what is open and sends nothing twice.

CMEK cannot be switched off again.`,
		Example: `  keyturn enable analytics -f cmek_config.json --dry-run
  keyturn enable analytics -f cmek_config.json --deployment keyturn`,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(c, args); err != nil {
				return err
			}
			if file == "" {
				return errors.New("name the file with -f")
			}
			return installation.TrimBy(c, &o.by)
		},
		ValidArgsFunction: p.CompleteCluster,
		RunE:              func(c *cobra.Command, args []string) error { return p.enable(c.Context(), o, args[0], file) },
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the `file` with the key of each region; - reads it from the standard input")
	p.operationFlags(c, &o, ledger.OperationEnable)
	return c
}

func (p Commands) enable(ctx context.Context, o operationOptions, wanted, file string) error {
	data, err := p.readFile(file)
	if err != nil {
		return err
	}
	specs, err := lifecycle.ParseSpecs(data)
	if err != nil {
		return &terminal.ConfigurationError{Problems: fmt.Errorf("%s: %w", file, err)}
	}
	return p.onCluster(ctx, o, wanted, func(f *operations, cluster cmek.Cluster) error {
		r := o.request(ledger.OperationEnable, cluster.ID)
		r.Specs = specs
		return p.runOperation(ctx, f, cluster, r, o.dry)
	})
}

// additionFlags are the regions that flags name.
type additionFlags struct {
	regions, keys, principals []string
	file                      string
}

// AddRegionCommand is "keyturn add-region".
func (p Commands) AddRegionCommand() *cobra.Command {
	var o operationOptions
	var a additionFlags
	c := &cobra.Command{
		Use:   "add-region CLUSTER --region REGION=NODES --key KEY --principal PRINCIPAL",
		Short: "Add regions with their keys to a cluster with CMEK; no region is ever removed",
		Long: `Add regions with their keys to a cluster with CMEK. The API takes the map of all regions, and removes those
that it leaves out: this command takes additions only, reads the cluster, and sends every region that it has with the new
ones. With --file the body of the vendor's page is taken as additions; what it says about hardware is not sent.

Where Terraform manages the CMEK, its provider (1.22) crashes on a region that the configuration lacks. Add the region there, then
terraform state rm and terraform import the resource; the plan then shows no changes, and nothing is sent.

--key and --principal are given once for all regions, or once for each --region, in the same order.`,
		Example: `  keyturn add-region payments --region us-west-2=3 --key KEY_ARN --principal ROLE_ARN --dry-run
  keyturn add-region payments -f add.json`,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(c, args); err != nil {
				return err
			}
			if (a.file == "") == (len(a.regions)+len(a.keys)+len(a.principals) == 0) {
				return errors.New("name the regions with --region, --key and --principal, or a file with -f")
			}
			if _, err := a.additions(); a.file == "" && err != nil {
				return err
			}
			return installation.TrimBy(c, &o.by)
		},
		ValidArgsFunction: p.CompleteCluster,
		RunE:              func(c *cobra.Command, args []string) error { return p.addRegion(c.Context(), o, args[0], a) },
	}
	c.Flags().StringArrayVar(&a.regions, "region", nil, "a region to add and its node count, as `REGION=NODES`; repeat for more")
	c.Flags().StringArrayVar(&a.keys, "key", nil, "the `URI` of its key")
	c.Flags().StringArrayVar(&a.principals, "principal", nil, "the `role` or service account that the cluster acts as")
	c.Flags().StringVarP(&a.file, "file", "f", "", "the `file` of the vendor's page; - reads it from the standard input")
	p.operationFlags(c, &o, ledger.OperationAddRegion)
	return c
}

// additions reads the flags.
func (a additionFlags) additions() (list []cmek.AddedRegion, err error) {
	of := func(flag string, values []string, i int) (string, error) {
		switch len(values) {
		case 1:
			return values[0], nil
		case len(a.regions):
			return values[i], nil
		}
		return "", fmt.Errorf("--%s is given %d times for %d regions; want once, or once for each", flag, len(values), len(a.regions))
	}
	for i, region := range a.regions {
		name, count, _ := strings.Cut(region, "=")
		nodes, wrong := strconv.Atoi(count)
		key, noKey := of("key", a.keys, i)
		principal, noPrincipal := of("principal", a.principals, i)
		if wrong != nil || name == "" || nodes < 1 {
			return nil, fmt.Errorf("--region is %q; want REGION=NODES, such as us-west-2=3", region)
		}
		if err := errors.Join(noKey, noPrincipal); err != nil {
			return nil, err
		}
		uri := cmek.KeyURI(key)
		list = append(list, cmek.AddedRegion{Region: name, Nodes: nodes, KeySpec: cmek.KeySpec{Type: uri.Type(), URI: uri, AuthPrincipal: cmek.Principal(principal)}})
	}
	if len(list) == 0 {
		return nil, errors.New("no --region is named")
	}
	return list, nil
}

func (p Commands) addRegion(ctx context.Context, o operationOptions, wanted string, a additionFlags) (err error) {
	var data []byte
	if a.file != "" {
		if data, err = p.readFile(a.file); err != nil {
			return err
		}
	}
	return p.onCluster(ctx, o, wanted, func(f *operations, cluster cmek.Cluster) (err error) {
		r := o.request(ledger.OperationAddRegion, cluster.ID)
		if a.file == "" {
			r.Additions, err = a.additions()
		} else {
			r.Additions, err = lifecycle.ParseAdditions(data, cluster.Regions)
		}
		if err != nil {
			return &terminal.ConfigurationError{Problems: err}
		}
		slices.SortFunc(r.Additions, func(a, b cmek.AddedRegion) int { return strings.Compare(a.Region, b.Region) })
		return p.runOperation(ctx, f, cluster, r, o.dry)
	})
}
