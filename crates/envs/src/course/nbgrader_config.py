# Written by `lyceum course`, and written anew by it: changes are lost.
#
# Tells nbgrader, each time when it starts, in which courses of this machine its user is, and as what. Asks nobody but
# the machine's groups and the records of courses beside it, so that it holds in servers, terminals and scripts alike.

import datetime
import errno
import grp
import json
import os
import pwd
import re
import shutil
import stat
from fnmatch import fnmatch

from nbgrader.auth import BaseAuthPlugin
from nbgrader.exchange import default as exchange
from nbgrader.utils import parse_utc

c = get_config()  # noqa: F821

SETTINGS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ME = pwd.getpwuid(os.getuid()).pw_name
MINE = set(os.getgroups()) | {os.getgid()}


def group(name):
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def is_mine(name):
    found = group(name)
    return found is not None and found.gr_gid in MINE


def read_courses():
    courses = {}
    for name in sorted(os.listdir(SETTINGS)):
        if name.endswith(".json"):
            try:
                with open(os.path.join(SETTINGS, name), encoding="utf-8") as file:
                    course = json.load(file)
            except (OSError, ValueError):
                continue
            if not course.get("archived"):
                courses[course["name"]] = course
    return courses


COURSES = read_courses()
TAUGHT = [name for name in COURSES if is_mine("teach-" + name)]
VISITED = [name for name in COURSES if is_mine("course-" + name) or name in TAUGHT]


def chosen():
    """The course that is meant if none is named: that of the folder, that of the variable, else the only or first one."""
    here = os.path.realpath(os.getcwd())
    for name in TAUGHT:
        root = os.path.realpath(COURSES[name]["root"])
        if here == root or here.startswith(root + os.sep):
            return name
    wanted = os.environ.get("LYCEUM_COURSE")
    if wanted in VISITED:
        return wanted
    if TAUGHT:
        return TAUGHT[0]
    return VISITED[0] if len(VISITED) == 1 else None


def place(course):
    """The folder of a course: by the link in the home, where there is one, as the file browser can go only there."""
    link = os.path.join(os.path.expanduser("~"), "course-" + course["name"])
    try:
        if os.readlink(link) == course["root"]:
            return link
    except OSError:
        pass
    return course["root"]


class ByGroups(BaseAuthPlugin):
    """Who is in a course, by the groups of this machine."""

    def get_student_courses(self, student_id):
        if student_id in ("*", ME):
            return list(VISITED)
        found = {name: group("course-" + name) for name in COURSES}
        return [name for name, one in found.items() if one is not None and student_id in one.gr_mem]

    def add_student_to_course(self, student_id, course_id):
        self.log.info("An administrator enrolls %s with: lyceum course enroll %s %s", student_id, course_id, student_id)

    def remove_student_from_course(self, student_id, course_id):
        self.log.info("An administrator takes %s out with: lyceum course drop %s %s", student_id, course_id, student_id)


class AsStudent:
    """What is a student's own stays so, also where the student teaches another course."""

    def start(self):
        self.coursedir.groupshared = False
        course = COURSES.get(self.coursedir.course_id)
        if course is not None:
            self.timezone = course["timezone"]
        super().start()

    def ensure_root(self):
        # Students write to the courses' own folders; nobody but root writes beside these.
        pass


def make_own(top):
    """Takes away what teachers may in the exchange, which is copied with the files.

    By the lists, whatever is created there later would be the group's to change, whatever the umask is.
    """
    for folder, _, files in os.walk(top):
        for path in [folder] + [os.path.join(folder, name) for name in files]:
            if os.path.islink(path):
                continue
            for name in ("system.posix_acl_access", "system.posix_acl_default"):
                try:
                    os.removexattr(path, name)
                except OSError:
                    # There is none.
                    pass
            os.chmod(path, os.stat(path).st_mode & 0o5755)


class Fetch(AsStudent, exchange.ExchangeFetchAssignment):
    def copy_files(self):
        super().copy_files()
        make_own(self.dest_path)


class FetchFeedback(AsStudent, exchange.ExchangeFetchFeedback):
    def copy_files(self):
        super().copy_files()
        make_own(self.dest_path)


class Submit(AsStudent, exchange.ExchangeSubmit):
    def copy_files(self):
        super().copy_files()
        # Its group are the teachers, by the folder that it is in. For others its name should be secret enough; now it
        # need not be.
        os.chmod(os.path.join(self.inbound_path, self.assignment_filename), 0o770)


class Refused(Exception):
    """Why something is not collected."""


class Copy:
    """Copies one submission. Its student can change it meanwhile, and may want to have read what its teacher can read.

    So no link is followed, everything is looked at when it is open already, and only what is the student's own is taken.
    """

    # Without the last but one, whoever puts a pipe there would be waited for.
    READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    DEEPEST = 50
    LONGEST = 4000

    def __init__(self, student, coursedir, log):
        self.owner = pwd.getpwnam(student).pw_uid
        self.coursedir = coursedir
        self.log = log
        self.room = 1000 * coursedir.max_dir_size
        self.entries = 100_000

    def submission(self, source, target):
        found, about = self.open(source, os.path.basename(source))
        try:
            if not stat.S_ISDIR(about.st_mode):
                raise Refused("it is no folder")
            self.folder(found, target, "")
        finally:
            os.close(found)

    def open(self, name, shown, above=None):
        try:
            found = os.open(name, self.READ, dir_fd=above)
        except OSError as error:
            why = "is a link" if error.errno == errno.ELOOP else "cannot be read: " + os.strerror(error.errno)
            raise Refused(f"{shown!r} {why}") from None
        about = os.fstat(found)
        # By a second name of a file, too, somebody else's could come in.
        if about.st_uid != self.owner:
            os.close(found)
            raise Refused(f"{shown!r} belongs to somebody else")
        return found, about

    def folder(self, source, target, path):
        if path.count(os.sep) > self.DEEPEST:
            raise Refused("its folders are too deep")
        os.mkdir(target)
        for name in self.names(source):
            inside, to = os.path.join(path, name), os.path.join(target, name)
            if len(os.fsencode(to)) > self.LONGEST:
                raise Refused("a path in it is too long")
            found, about = self.open(name, inside, source)
            try:
                if stat.S_ISDIR(about.st_mode):
                    self.folder(found, to, inside)
                elif stat.S_ISREG(about.st_mode):
                    self.file(found, about, to, inside)
                else:
                    raise Refused(f"{inside!r} is neither a file nor a folder")
            finally:
                os.close(found)
        if self.coursedir.groupshared:
            os.chmod(target, 0o2770)

    def names(self, folder):
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self.entries -= 1
                if self.entries < 0:
                    raise Refused("it has too many files")
                if not any(fnmatch(entry.name, pattern) for pattern in self.coursedir.ignore):
                    names.append(entry.name)
        return sorted(names)

    def file(self, source, about, target, inside):
        if not any(fnmatch(os.path.basename(inside), pattern) for pattern in self.coursedir.include):
            return
        limit = 1000 * self.coursedir.max_file_size
        if limit and about.st_size > limit:
            self.log.warning("Left out %r, which is larger than CourseDirectory.max_file_size", inside)
            return
        with open(target, "xb") as file:
            while True:
                data = os.read(source, 256 * 1024)
                if not data:
                    break
                self.room -= len(data)
                if self.room < 0:
                    raise Refused("it is larger than CourseDirectory.max_dir_size")
                file.write(data)
            if self.coursedir.groupshared:
                os.fchmod(file.fileno(), 0o660)


class Collect(exchange.ExchangeCollect):
    """Collects what students have submitted themselves. What is wrong with one submission holds up no other."""

    def init_src(self):
        super().init_src()
        self.src_records = [record for record in self.src_records if record["username"] is not None]

    def _path_to_record(self, path):
        # nbgrader takes the newest of each name, so what is not that student's has to be out before. Whatever is out is
        # nobody's, and taken out of what was chosen.
        filename = os.path.basename(path)
        record = {"username": None, "filename": filename, "timestamp": datetime.datetime.min}
        try:
            student, assignment, date = filename.rsplit("+", 3)[:3]
            if assignment != self.coursedir.assignment_id:
                raise Refused("its name is none that `nbgrader submit` gives")
            timestamp = parse_utc(date)
            if os.lstat(path).st_uid != pwd.getpwnam(student).pw_uid:
                raise Refused("it was not submitted by the one whose name it bears")
        # Everybody can write names, and what reads dates was not made for all of them.
        except Exception as why:
            self.log.warning("Left out the submission %r: %s", filename, ascii(str(why)))
            return record
        return {**record, "username": student, "timestamp": timestamp}

    def copy_files(self):
        failed = []
        for record in self.src_records:
            student, assignment = record["username"], self.coursedir.assignment_id
            target = self.coursedir.format_path(self.coursedir.submitted_directory, student, assignment)
            target = os.path.normpath(target)
            if os.path.isdir(target) and not self.is_wanted(record, target):
                self.log.info("%s: %s is collected already, and nothing newer is asked for", student, assignment)
                continue
            try:
                self.take(record, target)
                self.log.info("%s: %s is collected", student, assignment)
            except Refused as why:
                self.log.warning("The submission %r is not collected: %s", record["filename"], why)
            except OSError as error:
                self.log.error("The submission %r could not be collected: %s", record["filename"], error)
                failed.append(student)
        if not self.src_records:
            self.log.warning("There is nothing to collect")
        if failed:
            self.fail("Not collected, as something failed: " + ", ".join(failed))

    def is_wanted(self, record, target):
        try:
            with open(os.path.join(target, "timestamp.txt"), encoding="utf-8") as file:
                had = parse_utc(file.read(200).strip())
        # Students can write what they like into what was collected before it was written here.
        except Exception:
            had = None
        if self.update and (had is None or record["timestamp"] > had):
            return True
        return self.before_duedate and record["timestamp"] != had

    def take(self, record, target):
        above, name = os.path.split(target)
        os.makedirs(above, exist_ok=True)
        stage = os.path.join(above, "." + name + ".new")
        shutil.rmtree(stage, ignore_errors=True)
        try:
            source = os.path.join(self.inbound_path, record["filename"])
            Copy(record["username"], self.coursedir, self.log).submission(source, stage)
            self.seal(record, stage)
            # What was there is given up only for something complete.
            if os.path.isdir(target):
                shutil.rmtree(target)
            os.rename(stage, target)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def seal(self, record, stage):
        """Sees to it that later steps, which read these two for all students at once, do not fail at one of them."""
        try:
            with open(os.path.join(stage, "submission_secret.txt"), "rb") as file:
                is_secret = re.fullmatch(rb"[0-9a-f]{32,256}", file.read(300))
        except OSError:
            is_secret = False
        if not is_secret:
            raise Refused("it is not complete, or was not made by `nbgrader submit`")
        date = os.path.join(stage, "timestamp.txt")
        if os.path.isdir(date):
            raise Refused("'timestamp.txt' is a folder")
        with open(date, "w", encoding="utf-8") as file:
            file.write(record["filename"].rsplit("+", 3)[2])
        if self.coursedir.groupshared:
            os.chmod(date, 0o660)


STUBS = {
    "en": ("YOUR CODE HERE", "YOUR ANSWER HERE"),
    "cs": ("ZDE NAPIŠTE SVŮJ KÓD", "ZDE NAPIŠTE SVOU ODPOVĚĎ"),
    "de": ("HIER STEHT IHR CODE", "HIER STEHT IHRE ANTWORT"),
}


def stubs(language):
    code, text = STUBS.get(language, STUBS["en"])
    return text, {
        "python": "# " + code + "\nraise NotImplementedError()",
        "R": "# " + code + '\nstop("not implemented")',
        "julia": "# " + code + '\nerror("not implemented")',
        "matlab": "% " + code + "\nerror('not implemented')",
        "octave": "% " + code + "\nerror('not implemented')",
        "sas": "/* " + code + " */\n %notImplemented;",
        "java": "// " + code,
    }


c.Authenticator.plugin_class = ByGroups
c.ExchangeFactory.fetch_assignment = Fetch
c.ExchangeFactory.fetch_feedback = FetchFeedback
c.ExchangeFactory.submit = Submit
c.ExchangeFactory.collect = Collect
# Assignments of two courses may have the same name.
c.Exchange.path_includes_course = True
# Several teachers work in one folder. What belongs to students is not touched by it; see AsStudent.
c.CourseDirectory.groupshared = True

for course in COURSES.values():
    c.Exchange.root = course["exchange"]

COURSE = COURSES.get(chosen())
if COURSE is not None:
    c.CourseDirectory.course_id = COURSE["name"]
    c.Exchange.timezone = COURSE["timezone"]
    c.ExecutePreprocessor.timeout = COURSE["execution_timeout"]
    c.ClearSolutions.text_stub, c.ClearSolutions.code_stub = stubs(COURSE["language"])
    if COURSE["name"] in TAUGHT:
        c.CourseDirectory.root = place(COURSE)
