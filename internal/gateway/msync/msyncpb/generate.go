// Package msyncpb is schema/msync.proto as Go types. The file beside this one is generated: see the
// directive.
package msyncpb

//go:generate go build -o protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
//go:generate protoc --plugin=./protoc-gen-go --proto_path=../../../../schema --go_out=. --go_opt=paths=source_relative msync.proto
//go:generate rm protoc-gen-go
