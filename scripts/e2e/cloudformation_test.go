package e2e

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// deployed is a stack in moto_server.
type deployed struct {
	// physical ids by logical ones.
	physical map[string]string
	// properties of what the tests play, with every reference resolved, as JSON, by kind of resource.
	properties map[string][]string
}

// deploy creates the stack in moto_server. What is played by the tests is left out of it.
func deploy(t *testing.T, name, region string, tmpl template) deployed {
	t.Helper()
	tmpl.Outputs = map[string]output{}
	kinds := map[string]string{} // by the output's name
	for id, r := range tmpl.Resources {
		played, standsIn := standInFor(r.Type)
		if standsIn {
			delete(tmpl.Resources, id)
		}
		if played.resolved || r.Type == lambdaFunction {
			tmpl.Outputs[id] = output{map[string]any{"Fn::ToJsonString": r.Properties}}
			kinds[id] = r.Type
		}
	}
	body, err := json.Marshal(tmpl)
	must(t, err, "write template of "+name)
	createStack(t, region, name, string(body))

	var stacks struct {
		Stack struct {
			Status  string `xml:"StackStatus"`
			Outputs []struct {
				Key   string `xml:"OutputKey"`
				Value string `xml:"OutputValue"`
			} `xml:"Outputs>member"`
		} `xml:"DescribeStacksResult>Stacks>member"`
	}
	askCloudFormation(t, region, url.Values{"Action": {"DescribeStacks"}, "StackName": {name}}, &stacks)
	if stacks.Stack.Status != "CREATE_COMPLETE" {
		t.Fatalf("stack %s is %s, want CREATE_COMPLETE", name, stacks.Stack.Status)
	}
	var resources struct {
		All []struct {
			Logical  string `xml:"LogicalResourceId"`
			Physical string `xml:"PhysicalResourceId"`
		} `xml:"DescribeStackResourcesResult>StackResources>member"`
	}
	askCloudFormation(t, region, url.Values{"Action": {"DescribeStackResources"}, "StackName": {name}}, &resources)
	if len(resources.All) != len(tmpl.Resources) {
		t.Fatalf("stack %s has %d resources in moto_server, want all %d of the template", name, len(resources.All), len(tmpl.Resources))
	}
	d := deployed{map[string]string{}, map[string][]string{}}
	for _, r := range resources.All {
		d.physical[r.Logical] = r.Physical
	}
	for _, o := range stacks.Stack.Outputs {
		kind := kinds[o.Key]
		d.properties[kind] = append(d.properties[kind], o.Value)
	}
	return d
}

// propertiesOf decodes the properties of every resource of a kind.
func propertiesOf[T any](t *testing.T, d deployed, kind string) (all []T) {
	t.Helper()
	for _, text := range d.properties[kind] {
		var one T
		must(t, json.Unmarshal([]byte(text), &one), "read properties of a "+kind)
		all = append(all, one)
	}
	return all
}

// oneStack lets stacks be created one after the other: moto_server sometimes breaks off (500) when it makes several at once on a
// busy machine.
var oneStack sync.Mutex

// createStack creates a stack. What moto_server broke off is taken away and tried again.
func createStack(t *testing.T, region, name, body string) {
	t.Helper()
	oneStack.Lock()
	defer oneStack.Unlock()
	create := url.Values{"Action": {"CreateStack"}, "StackName": {name}, "TemplateBody": {body}}
	const tries = 3
	for try := 1; ; try++ {
		status, answer := postCloudFormation(t, region, create)
		switch {
		case status == http.StatusOK:
			return
		case status < http.StatusInternalServerError || try == tries:
			t.Fatalf("CreateStack of stack %s, try %d: %d\n%s", name, try, status, answer)
		}
		t.Logf("moto_server broke off the creation of stack %s; trying again", name)
		_, _ = postCloudFormation(t, region, url.Values{"Action": {"DeleteStack"}, "StackName": {name}})
	}
}

// askCloudFormation sends a request of CloudFormation's query protocol. moto_server reads service and Region from the header
// and checks no signature.
func askCloudFormation(t *testing.T, region string, form url.Values, answer any) {
	t.Helper()
	status, body := postCloudFormation(t, region, form)
	if status != http.StatusOK {
		t.Fatalf("%s of stack %s: %d\n%s", form.Get("Action"), form.Get("StackName"), status, body)
	}
	must(t, xml.Unmarshal(body, answer), "read answer to "+form.Get("Action"))
}

func postCloudFormation(t *testing.T, region string, form url.Values) (status int, body []byte) {
	t.Helper()
	form.Set("Version", "2010-05-15")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, motoEndpoint, strings.NewReader(form.Encode()))
	must(t, err, "make request")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", fmt.Sprintf(
		"AWS4-HMAC-SHA256 Credential=harness/20260101/%s/cloudformation/aws4_request, SignedHeaders=host, Signature=0", region))
	response, err := http.DefaultClient.Do(request)
	must(t, err, form.Get("Action"))
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(response.Body)
	must(t, err, form.Get("Action"))
	return response.StatusCode, body
}
