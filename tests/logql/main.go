// logqlcheck parses LogQL by its own grammar, and runs the stages of each query over real lines.
//
//	logqlcheck queries.json lines.txt
//
// queries.json is a list of {"name", "expr", "labels"}; for each it prints one JSON object: kept lines, and the stages' errors.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/loki/v3/pkg/logql/syntax"
	"github.com/prometheus/prometheus/model/labels"
)

type query struct {
	Name, Expr string
	Labels     map[string]string
}

type result struct {
	Name   string
	Error  string `json:",omitempty"`
	Kept   int
	Broken []string          `json:",omitempty"` // values of __error__
	Labels map[string]string `json:",omitempty"` // of the last kept line
	Line   string            `json:",omitempty"`
}

// The log part of any expression: itself, or what a range is taken over.
func selectors(expr syntax.Expr) []syntax.LogSelectorExpr {
	var found []syntax.LogSelectorExpr
	if s, ok := expr.(syntax.LogSelectorExpr); ok {
		return append(found, s)
	}
	expr.Walk(func(e syntax.Expr) bool {
		if r, ok := e.(*syntax.LogRangeExpr); ok {
			found = append(found, r.Left)
			return false
		}
		return true
	})
	return found
}

func check(q query, lines []string) (out result) {
	out.Name = q.Name
	expr, err := syntax.ParseExpr(q.Expr)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	for _, s := range selectors(expr) {
		for _, m := range s.Matchers() {
			if !m.Matches(q.Labels[m.Name]) {
				out.Error = "matches no stream: " + m.String()
				return out
			}
		}
		pipeline, err := s.Pipeline()
		if err != nil {
			out.Error = err.Error()
			return out
		}
		stream := pipeline.ForStream(labels.FromMap(q.Labels))
		for _, line := range lines {
			text, lbs, kept := stream.ProcessString(0, line, labels.EmptyLabels())
			if !kept {
				continue
			}
			out.Kept++
			out.Line = text
			out.Labels = lbs.Labels().Map()
			if broken := out.Labels["__error__"]; broken != "" {
				out.Broken = append(out.Broken, broken)
			}
		}
	}
	return out
}

func main() {
	bytes, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var queries []query
	if err := json.Unmarshal(bytes, &queries); err != nil {
		panic(err)
	}
	file, err := os.Open(os.Args[2])
	if err != nil {
		panic(err)
	}
	var lines []string
	for scan := bufio.NewScanner(file); scan.Scan(); {
		lines = append(lines, scan.Text())
	}
	encoder := json.NewEncoder(os.Stdout)
	for _, q := range queries {
		if err := encoder.Encode(check(q, lines)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
