package embedder

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// largestTokenizer bounds tokenizer.json; those with a few hundred thousand
// tokens have some 20 MB.
const largestTokenizer = 512 << 20

// contents are the digests of the files that determine a vector.
type contents struct {
	model, tokenizer Digest
	data             []DataFile
}

// contentsOf reads a model's files, before anything else does, and holds them
// against the digests that c pins.
func (c Config) contentsOf(dir string, f folder) (contents, error) {
	var out contents
	var err error
	if info, err := os.Stat(f.tokenizer); err != nil {
		return out, err
	} else if info.Size() > largestTokenizer {
		return out, fmt.Errorf("%s has more than %d bytes, which is no tokenizer", f.tokenizer, largestTokenizer)
	}
	if out.tokenizer, err = hashFile(f.tokenizer); err != nil {
		return out, err
	}
	if out.model, out.data, err = fingerprint(f.onnx); err != nil {
		return out, err
	}
	if len(c.FilesSHA256) == 0 {
		return out, nil
	}
	found := map[string]Digest{}
	note := func(path string, sum Digest) error {
		name, err := filepath.Rel(dir, path)
		found[filepath.ToSlash(name)] = sum
		return err
	}
	errs := []error{note(f.tokenizer, out.tokenizer), note(f.onnx, out.model)}
	for _, d := range out.data {
		errs = append(errs, note(filepath.Join(filepath.Dir(f.onnx), d.Name), d.SHA256))
	}
	return out, errors.Join(append(errs, c.pinned(found))...)
}

// pinned compares the files that are used with those that may be.
func (c Config) pinned(found map[string]Digest) error {
	pins, err := c.pins()
	if err != nil {
		return err
	}
	var errs []error
	for name, sum := range found {
		switch want, ok := pins[name]; {
		case !ok:
			errs = append(errs, fmt.Errorf("files_sha256: %s is used and not pinned; its SHA-256 is %x", name, sum))
		case want != sum:
			errs = append(errs, fmt.Errorf("files_sha256: %s is not the file that is pinned: its SHA-256 is %x", name, sum))
		}
	}
	for name := range pins {
		if _, ok := found[name]; !ok {
			errs = append(errs, fmt.Errorf("files_sha256: %s is pinned, and the model does not use it", name))
		}
	}
	return errors.Join(errs...)
}

// pins reads files_sha256.
func (c Config) pins() (map[string]Digest, error) {
	out := map[string]Digest{}
	for _, entry := range c.FilesSHA256 {
		name, digits, _ := strings.Cut(entry, "=")
		var sum Digest
		raw, err := hex.DecodeString(digits)
		if name == "" || err != nil || len(raw) != len(sum) {
			return nil, fmt.Errorf("files_sha256: %q is not name=SHA-256 (64 hexadecimal digits)", entry)
		}
		copy(sum[:], raw)
		out[name] = sum
	}
	return out, nil
}

// fingerprint reads a model.onnx: its digest, and the digests of the files
// that its weights lie in, where they lie outside. It refuses what ONNX Runtime
// would have to look for elsewhere: weights outside the folder, and operators of
// a library.
func fingerprint(path string) (model Digest, data []DataFile, err error) {
	f, err := openRegular(path)
	if err != nil {
		return Digest{}, nil, err
	}
	defer func() { _ = f.Close() }()
	model, names, err := scanModel(f)
	if err != nil {
		return Digest{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, name := range names {
		if err := staysBeside(path, name); err != nil {
			return Digest{}, nil, fmt.Errorf("%s: %w", path, err)
		}
		sum, err := hashFile(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			return Digest{}, nil, fmt.Errorf("%s: read the weights it refers to: %w", path, err)
		}
		data = append(data, DataFile{Name: name, SHA256: sum})
	}
	return model, data, nil
}

// staysBeside refuses a name of weights that leads out of the model's folder, by
// itself or by a link. Where model.onnx is a link itself, as in Hugging Face's
// cache, its weights may lie where it really lies.
func staysBeside(model, name string) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("refers to weights at %q, outside its folder: export the model again with a relative location", name)
	}
	weights, err := filepath.EvalSymlinks(filepath.Join(filepath.Dir(model), name))
	if err != nil {
		return fmt.Errorf("read the weights it refers to: %w", err)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(model))
	if err != nil {
		return err
	}
	itself, err := filepath.EvalSymlinks(model)
	if err != nil {
		return err
	}
	for _, home := range []string{folder, filepath.Dir(itself)} {
		if rel, err := filepath.Rel(home, weights); err == nil && filepath.IsLocal(rel) {
			return nil
		}
	}
	return fmt.Errorf("refers to weights at %q, which is a link out of its folder: copy the file itself there", name)
}

// openRegular opens a file, and nothing that never ends.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	return os.Open(path)
}

// readBounded reads a file of at most so many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes, which is not what it should be", path, most)
	}
	return data, err
}

func hashFile(path string) (Digest, error) {
	f, err := openRegular(path)
	if err != nil {
		return Digest{}, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return Digest{}, err
	}
	return Digest(h.Sum(nil)), nil
}
