// Command aws is keyturn's CDK app: it reads keyturn.yaml and writes the stacks' templates, to be deployed with the CDK's
// command line.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/infra/aws/stack"
	"github.com/keyturn/keyturn/internal/version"
)

func main() {
	file := flag.String("config", "keyturn.yaml", "the deployment's `file`")
	dist := flag.String("dist", "dist/aws", "the `directory` with the functions' archives")
	out := flag.String("out", "cdk.out", "the `directory` for the templates")
	flag.Parse()
	if err := synthesize(*file, *dist, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func synthesize(file, dist, out string) error {
	d, err := deployment.Load(file)
	if err != nil {
		return err
	}
	d.Version = version.Read().Version
	for _, function := range []string{deployment.Rotation, deployment.Alerting, deployment.Notify, deployment.TrailCheck} {
		if _, err := os.Stat(archive(dist, function)); err != nil {
			return fmt.Errorf("find code of %s: %w; make build makes it", function, err)
		}
	}
	if err := os.RemoveAll(out); err != nil {
		return fmt.Errorf("clear %s: %w", out, err)
	}
	code := func(_ constructs.Construct, function string) awslambda.Code {
		return awslambda.Code_FromAsset(jsii.String(archive(dist, function)), nil)
	}
	stack.NewApp(d, code, out).Synth(nil)
	findings, err := stack.Findings(out)
	if err != nil {
		return err
	}
	for _, finding := range findings {
		fmt.Fprintln(os.Stderr, finding)
	}
	if len(findings) > 0 {
		return fmt.Errorf("%s: %d findings; nothing should be deployed like this", out, len(findings))
	}
	templates, err := filepath.Glob(filepath.Join(out, "*.template.json"))
	if err != nil {
		return err
	}
	for _, template := range templates {
		fmt.Println(template)
	}
	return nil
}

func archive(dist, function string) string { return filepath.Join(dist, function+".zip") }
