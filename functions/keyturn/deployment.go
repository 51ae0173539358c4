package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/hub"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
)

// deploymentVariable names the deployment that a command works on.
const deploymentVariable = "KEYTURN_DEPLOYMENT"

// namedDeployment is a deployment as somebody named it.
type namedDeployment struct {
	// name is "" if nobody named one.
	name string
	// by is the flag, the variable or the file that names it.
	by string
	// hub is where it is; a Region that is not known is that of the AWS profile.
	hub deployment.Place
	// server is the Cloud API of its keyturn.yaml; "" if that is not in reach, or names none.
	server string
}

// lookup is the value of a variable, the last one that is given; "" if there is none, or it is blank.
func (p *program) lookup(variable string) string {
	value := ""
	for _, pair := range p.environ {
		if name, v, _ := strings.Cut(pair, "="); name == variable {
			value = strings.TrimSpace(v)
		}
	}
	return value
}

// namesDeployment reports whether a flag or the environment names a deployment.
func (p *program) namesDeployment() bool {
	return p.deployment != "" || p.lookup(deploymentVariable) != ""
}

// nameDeployment says which deployment a flag, the environment, or else a keyturn.yaml in reach names.
func (p *program) nameDeployment() (namedDeployment, error) {
	n := namedDeployment{name: p.deployment, by: "--deployment"}
	if n.name == "" {
		n = namedDeployment{name: p.lookup(deploymentVariable), by: deploymentVariable}
	}
	file := p.fileInReach()
	if file == "" {
		return n, nil
	}
	d, err := deployment.Load(file)
	var problems deployment.Problems
	switch {
	case n.name == "" && errors.As(err, &problems):
		return namedDeployment{}, &configurationError{fmt.Errorf(
			"%s, which names the deployment, has %s; see %q", file, count(len(problems), "problem"), "keyturn config check "+file)}
	case n.name == "" && err != nil:
		return namedDeployment{}, err
	case n.name == "":
		n = namedDeployment{name: d.Name, by: file}
	}
	if err == nil && n.name == d.Name {
		n.hub, n.server = d.Hub, d.CockroachDB.Server
	}
	return n, nil
}

// fileInReach is the keyturn.yaml of the working directory or the nearest one above it, within the same repository; "" if there is none.
func (p *program) fileInReach() string {
	for dir := p.dir; dir != ""; {
		file := filepath.Join(dir, deploymentFile)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file
		}
		above := filepath.Dir(dir)
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil || above == dir {
			return ""
		}
		dir = above
	}
	return ""
}

// useDeployment adds what the deployment publishes to the environment, before what is given otherwise. A keyturn.yaml in reach counts only
// where no ledger is named and the Cloud API is no simulator: those are another installation.
func (p *program) useDeployment(ctx context.Context) error {
	if p.found != nil {
		return nil
	}
	server := p.lookup(cockroachcloud.EnvServer)
	if !p.namesDeployment() && (p.lookup("KEYTURN_LEDGER") != "" || cockroachcloud.IsLoopback(server)) {
		return nil
	}
	n, err := p.findDeployment(ctx)
	if err != nil || p.found == nil {
		return err
	}
	server = cmp.Or(server, n.server)
	published := cmp.Or(p.found.Server, cockroachcloud.DefaultServer)
	switch {
	case strings.TrimRight(cmp.Or(server, cockroachcloud.DefaultServer), "/") == strings.TrimRight(published, "/"):
	case server == "":
		return &configurationError{fmt.Errorf("the deployment %s follows the fleet at %s; set COCKROACH_SERVER (or --server) to that if it is right: "+
			"the API key is sent to no server that only the parameter names", p.found.Name, published)}
	default:
		// The ledger of one fleet must never be driven by the answers of another.
		return &configurationError{fmt.Errorf("the deployment %s follows the fleet at %s, and COCKROACH_SERVER (or --server) is %s; leave it out, "+
			"or name the ledger that goes with it instead of the deployment", p.found.Name, published, server)}
	}
	var pairs []string
	for name, value := range p.found.Variables() {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	if n.server != "" {
		pairs = append(pairs, cockroachcloud.EnvServer+"="+n.server)
	}
	p.environ = append(pairs, p.environ...) // what is given later counts
	return nil
}

// findDeployment reads what the named deployment publishes. If none is named, nothing is found and there is no error.
func (p *program) findDeployment(ctx context.Context) (namedDeployment, error) {
	n, err := p.nameDeployment()
	if err != nil || n.name == "" {
		return n, err
	}
	aws, err := loadAWS(ctx, n.hub.Region)
	if err != nil {
		return n, err
	}
	if aws.Region == "" {
		return n, &configurationError{fmt.Errorf("AWS_REGION is not set; want the Region of the deployment %s (or run this where its keyturn.yaml is in reach)", n.name)}
	}
	parameter := deployment.ParameterName(n.name)
	text, err := hub.ReadParameter(ctx, aws, parameter)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		return n, &configurationError{fmt.Errorf("there is no deployment %s (named by %s) in %s: parameter %s is not found; check the name, "+
			"that this is the hub's Region (AWS_REGION), and that the credentials are those of the hub's account", n.name, n.by, aws.Region, parameter)}
	case errors.Is(err, cmek.ErrDenied):
		return n, fmt.Errorf("find deployment %s in %s: %w; attach the policy %[1]s-%[4]s or %[1]s-%[5]s, which the hub's stack makes, to your role",
			n.name, aws.Region, err, deployment.ViewerPolicy, deployment.OperatorPolicy)
	case err != nil:
		return n, fmt.Errorf("find deployment %s in %s: %w", n.name, aws.Region, err)
	}
	found, err := deployment.ParsePublished(n.name, text)
	if err != nil {
		return n, fmt.Errorf("read parameter %s in %s: %w", parameter, aws.Region, err)
	}
	p.found, p.foundBy = &found, n.by
	return n, nil
}

// loadAWS loads the SDK's shared profiles, for a Region if it is given.
func loadAWS(ctx context.Context, region string) (amazon.Config, error) {
	// The SDK's own client, because it honors AWS_CA_BUNDLE.
	client := awshttp.NewBuildableClient().WithTimeout(10 * time.Second)
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithHTTPClient(client), awsconfig.WithRetryMaxAttempts(4)}
	if region != "" {
		options = append(options, awsconfig.WithRegion(region))
	}
	aws, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws, &configurationError{fmt.Errorf("read AWS profile: %w", err)}
	}
	within, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := aws.Credentials.Retrieve(within); err != nil {
		return aws, &configurationError{errors.New("AWS gives no credentials; " +
			"set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (\"aws sts get-caller-identity\" checks them)")}
	}
	return aws, nil
}
