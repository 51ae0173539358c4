package stack

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Findings are the errors and warnings that constructs carry in a synthesized app: problems that the CDK found, and findings
// of cdk-nag that nobody explained.
func Findings(directory string) (findings []string, err error) {
	err = filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "manifest.json") && !strings.HasSuffix(path, "metadata.json") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var content any
		if err := json.Unmarshal(data, &content); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		collect(content, "", &findings)
		return nil
	})
	return findings, err
}

// collect finds metadata entries {"type":"aws:cdk:error","data":"…"} below constructs' paths.
func collect(node any, at string, findings *[]string) {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			collect(child, at, findings)
		}
	case map[string]any:
		if kind, _ := node["type"].(string); kind == "aws:cdk:error" || kind == "aws:cdk:warning" {
			*findings = append(*findings, fmt.Sprintf("%s: %v", at, node["data"]))
			return
		}
		for name, child := range node {
			if strings.HasPrefix(name, "/") {
				collect(child, name, findings)
			} else {
				collect(child, at, findings)
			}
		}
	}
}
