"""A shared library as the dynamic loader reads it: by segments, dynamic tags and hash tables, through pyelftools.

`ElfFile` answers what `helpers.environment.elf` asks of one file. It knows no search path and no other library. It
reads no sections, which a stripped file may lack, but for the GPU code, of which only sections tell.
"""

from __future__ import annotations

import functools
import itertools
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.environment.elf_fatbin import architectures

if TYPE_CHECKING:  # pyelftools takes longer to import than most files take to read
    from elftools.elf.dynamic import DynamicTag
    from elftools.elf.sections import Symbol

__all__ = ["BUS_ERROR", "ElfError", "ElfFile"]

MACHINES = {  # as pyelftools and as `platform.machine()` call them
    "EM_386": "i386",
    "EM_PPC64": "ppc64le",
    "EM_S390": "s390x",
    "EM_ARM": "arm",
    "EM_X86_64": "x86_64",
    "EM_AARCH64": "aarch64",
    "EM_RISCV": "riscv64",
}
EXPORTED = ("STB_GLOBAL", "STB_WEAK", "STB_LOOS")  # the last is STB_GNU_UNIQUE
BUS_ERROR = "Bus error"
MOST = 10_000  # entries of a list that a damaged file could make endless


class ElfError(Exception):
    """A file that is no 64-bit shared library, is damaged, or cannot be read.

    Attributes
    ----------
    text : str or None
        What the loader prints about such a file behind its path, where that is known; `BUS_ERROR` for a library that
        was cut in its middle, which the loader does not see: it ends the process.
    id : str or None
        Failure of the catalogue: `L8` (no library, or cut off) or `L6` (of a 32-bit machine); None for others.
    """

    def __init__(self, message: str, text: str | None = None, id: str | None = None):
        super().__init__(message)
        self.text, self.id = text, id


def _guarded(method: Callable) -> Callable:
    """Turn what pyelftools stumbles over in a damaged file into an ElfError."""

    @functools.wraps(method)
    def guarded(self, *arguments):
        try:
            return method(self, *arguments)
        except (ElfError, ImportError, AttributeError, NameError, TypeError):  # the last four: ours, not the file's
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise self.damaged(f"reading it ends with {reason}") from error

    return guarded


class ElfFile:
    """A 64-bit ELF file with a dynamic segment, of which only what is asked for is read.

    Attributes
    ----------
    path, machine : str
    needed, rpath, runpath : tuple of str
    soname : str or None
        As `helpers.environment.elf.Extension` has them.
    """

    def __init__(self, path: str):
        self.path = path
        self._data = _mapped(path)
        self._identify(self._data[:64])
        self._open()

    def _identify(self, head: bytes) -> None:
        if not head:
            raise ElfError(
                f"{self.path} is empty, expected a shared library. Install its package again.", "file too short", "L8"
            )
        if head[:4] != b"\x7fELF":
            raise ElfError(
                f"{self.path} begins with {bytes(head[:4])!r}, expected an ELF file, the shared library of Linux.",
                "invalid ELF header" if len(head) == 64 else "file too short",
                "L8",
            )
        if len(head) < 64:
            raise self.damaged("its header is cut off", "file too short", "L8")
        if head[4] != 2:
            raise ElfError(
                f"{self.path} is a 32-bit library, expected a 64-bit one. Get a build for this machine.",
                *(("wrong ELF class: ELFCLASS32", "L6") if head[4] == 1 else ()),
            )
        if head[5] not in (1, 2):
            raise self.damaged("its byte order is unknown")

    @_guarded
    def _open(self) -> None:
        from elftools.elf.elffile import ELFFile

        self._elf = ELFFile(self._data)
        if self._elf["e_type"] not in ("ET_DYN", "ET_EXEC"):
            raise ElfError(
                f"{self.path} is an object or core file, expected a shared library. Link it with -shared.",
                "only ET_DYN and ET_EXEC can be loaded",
            )
        self.machine = MACHINES.get(self._elf["e_machine"], f"machine {self._elf['e_machine']}")
        self._elf.header["e_shoff"] = 0  # no sections: pyelftools then takes what it needs from the dynamic tags
        segments = list(self._elf.iter_segments())
        end = max((item["p_offset"] + item["p_filesz"] for item in segments if item["p_type"] == "PT_LOAD"), default=0)
        if end > len(self._data):
            raise self.damaged(f"it has {len(self._data)} bytes of {end} or more", BUS_ERROR, "L8")
        self._dynamic = next((item for item in segments if item["p_type"] == "PT_DYNAMIC"), None)
        if self._dynamic is None:
            raise ElfError(f"{self.path} has no dynamic segment, expected a shared library, not a static program.")
        # It asks again for each symbol, and reads all tags and segments each time.
        self._dynamic.get_table_offset = functools.cache(self._dynamic.get_table_offset)
        self._tags: dict[str, list[DynamicTag]] = {}
        for tag in self._dynamic.iter_tags():
            self._tags.setdefault(tag["d_tag"], []).append(tag)
        self.needed = tuple(tag.needed for tag in self._tags.get("DT_NEEDED", []))
        self.rpath, self.runpath = self._folders("DT_RPATH"), self._folders("DT_RUNPATH")
        self.soname = next((tag.soname for tag in self._tags.get("DT_SONAME", [])), None)

    def _folders(self, name: str) -> tuple[str, ...]:
        text = next((getattr(tag, name[3:].lower()) for tag in self._tags.get(name, [])), "")
        return tuple(part for part in text.split(":") if part)

    @functools.cached_property
    @_guarded
    def version_needs(self) -> list[tuple[str, str, bool, int]]:
        """Library, version, whether it may be missing, and index; in the file's order."""
        from elftools.elf.gnuversions import GNUVerNeedSection

        rows = ((need.name, each) for need, each in self._versions(GNUVerNeedSection, "DT_VERNEED"))
        flat = ((library, item) for library, versions in rows for item in versions)
        return [
            (library, item.name, bool(item["vna_flags"] & 2), item["vna_other"]) for library, item in self._ending(flat)
        ]

    @functools.cached_property
    @_guarded
    def version_definitions(self) -> tuple[str, ...]:
        from elftools.elf.gnuversions import GNUVerDefSection

        return tuple(next(names).name for _, names in self._ending(self._versions(GNUVerDefSection, "DT_VERDEF")))

    def _versions(self, kind: type, name: str) -> Iterator[tuple]:
        if name not in self._tags:
            return iter(())
        from elftools.elf.sections import StringTableSection

        strings = StringTableSection(self._header("DT_STRTAB"), "", self._elf)
        header = {**self._header(name), "sh_info": self._value(f"{name}NUM")}
        return kind(header, "", self._elf, strings).iter_versions()

    def _header(self, name: str) -> dict[str, int]:
        """Return as much of a section's header as pyelftools needs to read a table from a tag."""
        return {"sh_offset": self._offset(name), "sh_flags": 0, "sh_size": 0, "sh_addralign": 0}

    def _ending(self, items: Iterator) -> Iterator:
        for number, item in enumerate(items):
            if number > MOST:
                raise self.damaged("its list of versions has no end")
            yield item

    @_guarded
    def unresolved(self) -> list[tuple[str, str | None]]:
        """Return name and version of each symbol that must come from elsewhere, as relocation goes."""
        from elftools.elf.relocation import RelocationTable

        rows: dict[int, None] = {}
        first = self._value("DT_RELACOUNT")  # those before it name no symbol
        for table, size, skipped in (("DT_RELA", "DT_RELASZ", first), ("DT_JMPREL", "DT_PLTRELSZ", 0)):
            if table in self._tags:
                relocations = RelocationTable(self._elf, self._offset(table), self._value(size), True)
                for number in range(skipped, relocations.num_relocations()):
                    rows[relocations.get_relocation(number)["r_info_sym"]] = None
        versions = {index: name for _, name, _, index in self.version_needs}
        found = []
        for row in rows:
            symbol = self._dynamic.get_symbol(row)
            if row and symbol["st_shndx"] == "SHN_UNDEF" and symbol["st_info"]["bind"] == "STB_GLOBAL":
                found.append((symbol.name, versions.get(self._version(row))))
        return found

    def _version(self, row: int) -> int:
        if "DT_VERSYM" not in self._tags:
            return 0
        at = self._offset("DT_VERSYM") + 2 * row
        return int.from_bytes(self._data[at : at + 2], "little" if self._elf.little_endian else "big") & 0x7FFF

    @_guarded
    def exports(self, name: str) -> bool:
        """Tell whether it defines the symbol, found through its hash table as the loader does."""
        symbol = self._table.get_symbol(name) if self._table else None
        return symbol is not None and _is_exported(symbol)

    @_guarded
    def exported(self) -> list[str]:
        """Return all names that it defines; this reads every symbol, which `exports` does not."""
        rows = range(1, self._table.get_number_of_symbols()) if self._table else ()
        return [symbol.name for symbol in map(self._dynamic.get_symbol, rows) if _is_exported(symbol)]

    @functools.cached_property
    def _table(self):
        from elftools.elf.hash import ELFHashTable, GNUHashTable

        if "DT_GNU_HASH" in self._tags:
            return GNUHashTable(self._elf, self._offset("DT_GNU_HASH"), self._dynamic)
        if "DT_HASH" not in self._tags:
            return None
        table = ELFHashTable(self._elf, self._offset("DT_HASH"), None, self._dynamic)
        rows = [row for row in itertools.chain(table.params["buckets"], table.params["chains"]) if row]
        if len(set(rows)) < len(rows):
            raise self.damaged("its hash table runs in a circle")
        return table

    @functools.cached_property
    def gpu_archs(self) -> tuple[str, ...]:
        """Architectures of its CUDA code; empty where it has none, or no readable table of sections."""
        from elftools.elf.elffile import ELFFile

        try:
            section = ELFFile(self._data).get_section_by_name(".nv_fatbin")
            start, size = (section["sh_offset"], section["sh_size"]) if section else (0, 0)
        except Exception:  # the loader does not read sections, so this is no reason to call the file damaged
            return ()
        return architectures(self._data, start, size)

    def _value(self, name: str) -> int:
        return self._tags[name][0]["d_val"] if name in self._tags else 0

    def _offset(self, name: str) -> int:
        offset = self._dynamic.get_table_offset(name)[1]
        if offset is None:
            raise self.damaged(f"{name} points to none of its segments")
        return offset

    def damaged(self, what: str, text: str | None = None, id: str | None = None) -> ElfError:
        message = f"{self.path} is damaged or cut off: {what}. Download or build it again (pip: --no-cache-dir)."
        return ElfError(message, text, id)


def _is_exported(symbol: Symbol) -> bool:
    return symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] in EXPORTED


def _mapped(path: str) -> mmap.mmap | bytes:
    try:
        kind = Path(path).stat().st_mode
        if not stat.S_ISREG(kind):  # opening a pipe would wait
            what = "a folder" if stat.S_ISDIR(kind) else "no regular file"
            raise ElfError(f"{path} is {what}, expected a shared library. Give the path of the .so file.")
        with Path(path).open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return b""  # an empty file cannot be mapped
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        text = f"cannot open shared object file: {reason}"
        raise ElfError(f"{path} cannot be read: {reason}. Check the path and its permissions.", text) from error
    except ValueError as error:  # a NUL character
        raise ElfError(f"{path!r} is no path: {error}.") from error
