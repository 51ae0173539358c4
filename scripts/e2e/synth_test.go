package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/infra/aws/stack"
)

// variant is a way to deploy keyturn.
type variant string

const (
	// plain is testdata/keyturn.yaml as it is.
	plain variant = "plain"
	// repairing lets alerting undo scheduled deletions besides.
	repairing variant = "repairing"
)

// anyScene is the deployment's name in testdata/keyturn.yaml, and so in the templates, for which each scene puts its own.
const anyScene = "scene0000"

// templates are the synthesized stacks, as JSON, by variant and by what follows the deployment's name in the stack's.
var templates = map[variant]map[string]string{}

// codeBucket holds what stands for the functions' code.
const codeBucket = "keyturn-code"

// synthesize writes the CDK app's templates into the directory and reads them.
func synthesize(directory string) error {
	for _, v := range []variant{plain, repairing} {
		d, err := deployment.Load("testdata/keyturn.yaml")
		if err != nil {
			return err
		}
		d.Repair = v == repairing
		out := cloudAssembly(directory, v)
		stack.NewApp(d, codeElsewhere, out).Synth(nil)
		files, err := filepath.Glob(filepath.Join(out, anyScene+"-*.template.json"))
		if err != nil {
			return err
		}
		templates[v] = map[string]string{}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), anyScene+"-"), ".template.json")
			templates[v][name] = string(data)
		}
	}
	return nil
}

// cloudAssembly is where the CDK puts what it makes.
func cloudAssembly(directory string, v variant) string {
	return filepath.Join(directory, "cdk.out-"+string(v))
}

// codeElsewhere is code that is in a bucket already.
func codeElsewhere(scope constructs.Construct, function string) awslambda.Code {
	id := jsii.String("Code-" + function)
	bucket, ok := scope.Node().TryFindChild(id).(awss3.IBucket)
	if !ok {
		bucket = awss3.Bucket_FromBucketName(scope, id, jsii.String(codeBucket))
	}
	return awslambda.Code_FromBucketV2(bucket, jsii.String(function+".zip"), nil)
}

// template is a CloudFormation template. What is not here does not concern moto_server.
type template struct {
	Resources map[string]*resource
	Outputs   map[string]output
}

type resource struct {
	Type       string
	DependsOn  any `json:",omitempty"`
	Properties map[string]any
}

type output struct{ Value any }

// templateFor is the template of a stack for a scene.
func templateFor(v variant, scene, stack string) (template, error) {
	text, ok := templates[v][stack]
	if !ok {
		return template{}, fmt.Errorf("the CDK app has no stack %s-%s", anyScene, stack)
	}
	var t template
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, anyScene, scene)), &t); err != nil {
		return template{}, fmt.Errorf("read template of stack %s: %w", stack, err)
	}
	return t, nil
}

// refer puts values in the place of references: by the resource's logical id, and the attribute or "Ref".
func (t *template) refer(values map[string]map[string]string) {
	for _, r := range t.Resources {
		r.Properties, _ = referred(r.Properties, values).(map[string]any)
	}
	for name, o := range t.Outputs {
		t.Outputs[name] = output{referred(o.Value, values)}
	}
}

func referred(node any, values map[string]map[string]string) any {
	switch node := node.(type) {
	case []any:
		for i, child := range node {
			node[i] = referred(child, values)
		}
	case map[string]any:
		if id, ok := node["Ref"].(string); ok {
			if value, ok := values[id]["Ref"]; ok {
				return value
			}
		}
		if path, ok := node["Fn::GetAtt"].([]any); ok {
			if value, ok := values[path[0].(string)][path[1].(string)]; ok {
				return value
			}
		}
		for name, child := range node {
			node[name] = referred(child, values)
		}
	}
	return node
}
