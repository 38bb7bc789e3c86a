#!/usr/bin/env bash
# Why do phones not reach the PBX? Five checks from the server's side: process, port, firewall, SIP log, network.
# Needs nothing but bash and what every Debian has; needs no root, but says what it could not see without.
# The exit status is the number of problems found. `./check-sip-connection.sh --help` says more.
set -u
shopt -u patsub_replacement 2>/dev/null || true # bash 5.2: a & in a value is a &
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LOCALE=${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}
export LC_ALL=C.UTF-8 # what other programs print is read by their English words
LOG_LINES=20000 # the newest that are looked at
PROBLEMS=0
UNSEEN=0

# --- texts: a key, then English, Uzbek, Russian ------------------------------------------------------------------

texts() {
    cat <<'TEXTS'
@help
Checks from the server's side why phones do not reach the PBX: process, port, firewall, SIP log, network and domain. Reads only; changes nothing.
Telefonlar nega ATSga yetib bora olmayotganini server tomonida turib tekshiradi: jarayon, port, faervol, SIP jurnali, tarmoq va domen. Faqat o‘qiydi, hech narsani o‘zgartirmaydi.
Проверяет со стороны сервера, почему телефоны не достигают АТС: процесс, порт, файрвол, журнал SIP, сеть и домен. Только читает и ничего не меняет.
@help.usage
Usage: ./check-sip-connection.sh [--language uz|ru|en] [LOG FILE]
Ishlatish: ./check-sip-connection.sh [--language uz|ru|en] [JURNAL FAYLI]
Использование: ./check-sip-connection.sh [--language uz|ru|en] [ФАЙЛ ЖУРНАЛА]
@help.log
LOG FILE: where the output of the server goes, if it is neither PM2 nor systemd nor a file that can be found.
JURNAL FAYLI: server chiqaradigan matn yoziladigan fayl; u PM2, systemd yoki o‘zi topiladigan fayl bo‘lmasa kerak.
ФАЙЛ ЖУРНАЛА: куда пишется вывод сервера, если это не PM2, не systemd и не файл, который находится сам.
@help.root
Without root it cannot see the firewall and other users' programs; then it says so. With root: sudo ./check-sip-connection.sh
Root bo‘lmasa, faervolni va boshqa foydalanuvchilarning dasturlarini ko‘ra olmaydi va buni aytadi. Root bilan: sudo ./check-sip-connection.sh
Без root не видны файрвол и программы других пользователей; тогда об этом сказано. С root: sudo ./check-sip-connection.sh
@help.exit
The exit status is the number of problems found; 0: none.
Chiqish kodi topilgan muammolar sonidir; 0: muammo yo‘q.
Код завершения равен числу найденных проблем; 0 значит, что их нет.
@bad.option
Unknown option {option}. Try --help.
Noma’lum parametr: {option}. --help ni ko‘ring.
Неизвестный параметр {option}. Посмотрите --help.
@bad.file
The file {file} cannot be read.
{file} faylini o‘qib bo‘lmadi.
Файл {file} не читается.
@bad.number
{number} is no log file. Why a phone does not register is said by: {why}
{number} jurnal fayli emas. Telefon nega ro‘yxatdan o‘tmayotganini shu buyruq aytadi: {why}
{number} — не файл журнала. Почему телефон не регистрируется, скажет команда: {why}
@do
What to do:
Nima qilish kerak:
Что делать:
@head.process
Server process
Server jarayoni
Процесс сервера
@head.port
Port {port}
{port}-port
Порт {port}
@head.firewall
Firewall
Faervol (firewall)
Файрвол
@head.log
SIP log
SIP jurnali
Журнал SIP
@head.network
Network and domain
Tarmoq va domen
Сеть и домен
@process.ok
The SIP process runs (process {pid}), managed by {manager}.
SIP jarayoni ishlayapti (jarayon {pid}), uni {manager} boshqaradi.
Процесс SIP работает (процесс {pid}), им управляет {manager}.
@process.byhand
The SIP process runs (process {pid}), started by hand: after a restart of this machine nobody starts it again.
SIP jarayoni ishlayapti (jarayon {pid}), u qo‘lda ishga tushirilgan: kompyuter qayta yoqilganda uni hech kim ishga tushirmaydi.
Процесс SIP работает (процесс {pid}), он запущен вручную: после перезагрузки машины его никто не запустит.
@process.none
The SIP process does not run: no phone can register.
SIP jarayoni ishlamayapti: hech bir telefon ro‘yxatdan o‘ta olmaydi.
Процесс SIP не работает: ни один телефон не может зарегистрироваться.
@process.none.do
Start it: {command}
Ishga tushiring: {command}
Запустите его: {command}
@process.hidden
The processes of other users are hidden on this machine. If the server belongs to another user: {sudo}
Bu kompyuterda boshqa foydalanuvchilarning jarayonlari ko‘rinmaydi. Server boshqa foydalanuvchiniki bo‘lsa: {sudo}
На этой машине не видны процессы других пользователей. Если сервер принадлежит другому пользователю: {sudo}
@port.ok
{protocol} port {port} is open and belongs to the PBX ({address}).
{protocol} {port}-port ochiq va u ATSniki ({address}).
Порт {protocol} {port} открыт и принадлежит АТС ({address}).
@port.assumed
{protocol} port {port} is open ({address}); whose it is can be seen only by its user or root.
{protocol} {port}-port ochiq ({address}); u kimniki ekanini faqat uning egasi yoki root ko‘radi.
Порт {protocol} {port} открыт ({address}); чей он, видно только его пользователю или root.
@port.taken
{protocol} port {port} is used by another program: {program}.
{protocol} {port}-portni boshqa dastur egallagan: {program}.
Порт {protocol} {port} занят другой программой: {program}.
@port.taken.do
Stop that program, or write another SIP_PORT into .env and into the phones, and start the PBX again.
O‘sha dasturni to‘xtating yoki .env fayliga va telefonlarga boshqa SIP_PORT yozing, so‘ng ATSni qayta ishga tushiring.
Остановите эту программу или укажите другой SIP_PORT в .env и в телефонах и снова запустите АТС.
@port.closed
The SIP process runs, but nothing listens on {protocol} port {port}.
SIP jarayoni ishlayapti, lekin {protocol} {port}-portni hech kim tinglamayapti.
Процесс SIP работает, но порт {protocol} {port} никто не слушает.
@port.closed.do
If it was started just now, try again in a few seconds. Otherwise compare SIP_PORT in .env, restart the PBX, and read the end of its log.
U hozirgina ishga tushirilgan bo‘lsa, bir necha soniyadan keyin qayta tekshiring. Bo‘lmasa, .env dagi SIP_PORT ni solishtiring, ATSni qayta ishga tushiring va jurnalining oxirini o‘qing.
Если он запущен только что, повторите через несколько секунд. Иначе сверьте SIP_PORT в .env, перезапустите АТС и прочитайте конец её журнала.
@port.nobody
Nothing listens on {protocol} port {port}, because the server does not run.
{protocol} {port}-portni hech kim tinglamayapti, chunki server ishlamayapti.
Порт {protocol} {port} никто не слушает, потому что сервер не работает.
@port.loopback
The PBX listens on {address} only: no other device can reach it.
ATS faqat {address} manzilini tinglayapti: boshqa hech bir qurilma unga yetib bora olmaydi.
АТС слушает только {address}: никакое другое устройство до неё не дойдёт.
@port.loopback.do
Write SIP_HOST=0.0.0.0 into .env, or take the line out, and restart the PBX.
.env ga SIP_HOST=0.0.0.0 deb yozing yoki bu qatorni olib tashlang va ATSni qayta ishga tushiring.
Укажите в .env SIP_HOST=0.0.0.0 или уберите эту строку и перезапустите АТС.
@firewall.none
There is no firewall on this machine: neither ufw, nor nft, nor iptables is there.
Bu kompyuterda faervol yo‘q: ufw ham, nft ham, iptables ham topilmadi.
На этой машине нет файрвола: не найдены ни ufw, ни nft, ни iptables.
@firewall.ok
{name}: {port}/{protocol} is let in.
{name}: {port}/{protocol} o‘tkaziladi.
{name}: {port}/{protocol} пропускается.
@firewall.inactive
ufw is switched off.
ufw o‘chirilgan.
ufw выключен.
@firewall.unsure
{name}: whether {port}/{protocol} is let in depends on rules that this script does not understand: {rule}
{name}: {port}/{protocol} o‘tkaziladimi-yo‘qmi, bu skript tushunmaydigan qoidalarga bog‘liq: {rule}
{name}: пропускается ли {port}/{protocol}, зависит от правил, которых этот скрипт не понимает: {rule}
@firewall.unseen
The firewall ({name}) can be seen by root only: {sudo}
Faervolni ({name}) faqat root ko‘ra oladi: {sudo}
Файрвол ({name}) виден только root: {sudo}
@firewall.closed
{name} lets nothing in on {port}/{protocol}: what phones send is thrown away before the PBX sees it ({rule}).
{name} {port}/{protocol} ga hech narsani o‘tkazmayapti: telefonlar yuborgani ATSga yetmasdan tashlab yuboriladi ({rule}).
{name} ничего не пропускает на {port}/{protocol}: то, что отправляют телефоны, отбрасывается, не дойдя до АТС ({rule}).
@firewall.closed.do
Open it as root: {command}
Uni root sifatida oching: {command}
Откройте его от имени root: {command}
@firewall.sound
{name} lets no sound in on {port}/{protocol}: phones register and ring, but nobody hears anything ({rule}).
{name} {port}/{protocol} da ovozni o‘tkazmayapti: telefonlar ro‘yxatdan o‘tadi va jiringlaydi, lekin hech kim hech narsa eshitmaydi ({rule}).
{name} не пропускает звук на {port}/{protocol}: телефоны регистрируются и звонят, но никто ничего не слышит ({rule}).
@firewall.router
A router or a cloud provider in front of this machine may have a firewall of its own, which cannot be seen from here.
Bu kompyuter oldidagi router yoki bulut provayderining o‘z faervoli bo‘lishi mumkin, u bu yerdan ko‘rinmaydi.
У роутера или облачного провайдера перед этой машиной может быть свой файрвол, отсюда он не виден.
@log.source
The log is read from {source}.
Jurnal shu yerdan o‘qildi: {source}.
Журнал читается отсюда: {source}.
@log.none
The log was not found: the server writes it to a terminal or to a program. Give its file: {command}
Jurnal topilmadi: server uni terminalga yoki boshqa dasturga yozmoqda. Faylini ko‘rsating: {command}
Журнал не найден: сервер пишет его в терминал или в программу. Укажите его файл: {command}
@log.unseen
The log ({source}) can be read by its user or root only: {sudo}
Jurnalni ({source}) faqat uning egasi yoki root o‘qiy oladi: {sudo}
Журнал ({source}) может читать только его пользователь или root: {sudo}
@log.stopped
No log to read, because the server does not run.
O‘qiladigan jurnal yo‘q, chunki server ishlamayapti.
Журнала нет, потому что сервер не работает.
@log.silent
Not one phone has sent anything: the log has no line “[SIP] Received message”. So it is the network or a firewall, not the password.
Birorta telefondan hech narsa kelmagan: jurnalda “[SIP] Received message” qatori yo‘q. Demak, sabab parolda emas, tarmoqda yoki faervolda.
Ни один телефон ничего не прислал: в журнале нет строк «[SIP] Received message». Значит, дело в сети или файрволе, а не в пароле.
@log.silent.do
In the phone: server {server}, port {port}, UDP, and the account switched on. On the router in front of this machine: forward {port} UDP and TCP to it. In a cloud: open the port in the provider's console.
Telefonda: server {server}, port {port}, UDP, akkaunt yoqilgan bo‘lsin. Shu kompyuter oldidagi routerda: {port} UDP va TCP ni shu kompyuterga uzating. Bulutda: provayder panelida portni oching.
В телефоне: сервер {server}, порт {port}, UDP, аккаунт включён. На роутере перед этой машиной: пробросьте на неё {port} UDP и TCP. В облаке: откройте порт в панели провайдера.
@log.local
Only this machine itself has registered ({count}); nothing has come from another address yet.
Faqat shu kompyuterning o‘zi ro‘yxatdan o‘tgan ({count}); boshqa manzildan hali hech narsa kelmagan.
Зарегистрировалась только сама эта машина ({count}); с других адресов пока ничего не пришло.
@log.ok
Messages arrive and are answered: received {received}, registrations confirmed {good}.
Xabarlar kelyapti va ularga javob berilyapti: kelgani {received} ta, tasdiqlangan ro‘yxatdan o‘tishlar {good} ta.
Сообщения приходят и получают ответ: принято {received}, подтверждено регистраций {good}.
@log.also
Some were refused too ({count}), most often with cause={cause}: {meaning}
Rad etilganlari ham bor ({count} ta), ko‘pincha cause={cause}: {meaning}
Есть и отказы ({count}), чаще всего cause={cause}: {meaning}
@log.refused
Messages arrive, but no phone is let in. Refused {count}, most often with cause={cause}: {meaning}
Xabarlar kelyapti, lekin birorta telefon kiritilmayapti. Rad etilgani {count} ta, ko‘pincha cause={cause}: {meaning}
Сообщения приходят, но ни один телефон не допущен. Отказов {count}, чаще всего cause={cause}: {meaning}
@log.unanswered
Messages arrive and the password is asked for (401), but no phone answers that.
Xabarlar kelyapti va parol so‘ralyapti (401), lekin birorta telefon bunga javob bermayapti.
Сообщения приходят, пароль запрашивается (401), но ни один телефон на это не отвечает.
@log.unanswered.do
Type the password into the phone anew. If that does not help, our answers do not reach it: switch off “SIP ALG” in the router in front of the phone, and STUN in the phone.
Telefonga parolni qaytadan kiriting. Yordam bermasa, javoblarimiz unga yetib bormayapti: telefon oldidagi routerda “SIP ALG” ni, telefonda esa STUN ni o‘chiring.
Введите пароль в телефон заново. Если не поможет, наши ответы до него не доходят: выключите «SIP ALG» в роутере перед телефоном и STUN в телефоне.
@log.noreply
Messages arrive, but the log has no line “Response sent successfully”: the answers do not get out.
Xabarlar kelyapti, lekin jurnalda “Response sent successfully” qatori yo‘q: javoblar chiqib keta olmayapti.
Сообщения приходят, но в журнале нет строк «Response sent successfully»: ответы не уходят.
@log.noreply.do
Read the lines with “could not be sent” in the log; look at the outgoing rules of the firewall and at the routes of this machine (ip route).
Jurnaldagi “could not be sent” qatorlarini o‘qing; faervolning chiqish qoidalari va shu kompyuterning yo‘nalishlarini (ip route) tekshiring.
Прочитайте в журнале строки «could not be sent»; проверьте исходящие правила файрвола и маршруты этой машины (ip route).
@cause.wrong_password
the password in the phone is wrong.
telefondagi parol noto‘g‘ri.
в телефоне неверный пароль.
@cause.wrong_password.do
In the administration open the extension, press “Password” and type the new one into the phone. Or here: python3 manage.py setpassword {number}
Boshqaruv sahifasida ichki raqamni oching, “Parol” tugmasini bosing va yangi parolni telefonga kiriting. Yoki shu yerda: python3 manage.py setpassword {number}
На странице управления откройте внутренний номер, нажмите «Пароль» и введите новый пароль в телефон. Или здесь: python3 manage.py setpassword {number}
@cause.unknown_extension
there is no extension with the number that the phone uses.
telefonda yozilgan ichki raqam ATSda yo‘q.
внутреннего номера, указанного в телефоне, не существует.
@cause.unknown_extension.do
Compare the user name in the phone with the list of extensions (last seen: {number}), or add that extension.
Telefondagi foydalanuvchi nomini ichki raqamlar ro‘yxati bilan solishtiring (oxirgi ko‘ringani: {number}) yoki shu ichki raqamni qo‘shing.
Сверьте имя пользователя в телефоне со списком внутренних номеров (последнее: {number}) или добавьте этот номер.
@cause.disabled
the extension is disabled.
ichki raqam faolsizlantirilgan.
внутренний номер отключён.
@cause.disabled.do
Open the extension {number} in the administration and enable it.
Boshqaruv sahifasida {number} ichki raqamini oching va uni faollashtiring.
Откройте внутренний номер {number} на странице управления и включите его.
@cause.no_credential
the extension has no password yet.
ichki raqamga hali parol berilmagan.
у внутреннего номера ещё нет пароля.
@cause.stale_credential
the number or the realm was changed after the password was set.
parol qo‘yilgandan keyin raqam yoki realm o‘zgartirilgan.
после установки пароля изменили номер или realm.
@cause.credential.do
Give the extension a password and type it into the phone: python3 manage.py setpassword {number}
Ichki raqamga parol bering va uni telefonga kiriting: python3 manage.py setpassword {number}
Задайте внутреннему номеру пароль и введите его в телефон: python3 manage.py setpassword {number}
@cause.too_many_devices
as many phones as the extension may have are registered already.
ichki raqamga ruxsat etilganicha telefon allaqachon ro‘yxatdan o‘tgan.
уже зарегистрировано столько телефонов, сколько разрешено этому номеру.
@cause.too_many_devices.do
Open the extension {number}, press “Forget this device” beside phones that are no longer used, or raise its device limit.
{number} ichki raqamini oching, endi ishlatilmaydigan telefonlar yonidagi “Unutish” tugmasini bosing yoki qurilmalar chegarasini oshiring.
Откройте внутренний номер {number}, нажмите «Забыть» рядом с ненужными телефонами или увеличьте предел устройств.
@cause.wrong_domain
the phone has another server name than this PBX knows.
telefonda bu ATS bilmaydigan server nomi yozilgan.
в телефоне указано имя сервера, которого эта АТС не знает.
@cause.wrong_domain.do
Write {server} into the phone as its server (domain), or add the other name to SIP_ALIASES in .env.
Telefonga server (domen) sifatida {server} deb yozing yoki boshqa nomni .env dagi SIP_ALIASES ga qo‘shing.
Укажите в телефоне сервер (домен) {server} или добавьте другое имя в SIP_ALIASES в .env.
@cause.blocked
the address is blocked for a while, because it tried wrong passwords again and again.
noto‘g‘ri parol bilan qayta-qayta urinilgani uchun bu manzil vaqtincha bloklangan.
адрес временно заблокирован, потому что с него снова и снова пробовали неверные пароли.
@cause.blocked.do
Correct the password in the phone, then press “Unblock” in the administration under “Blocked addresses”.
Telefondagi parolni to‘g‘rilang, so‘ng boshqaruv sahifasidagi “Bloklangan manzillar” bo‘limida “Blokdan chiqarish” tugmasini bosing.
Исправьте пароль в телефоне, затем на странице управления в разделе «Заблокированные адреса» нажмите «Разблокировать».
@cause.other
the phone asks for something that the PBX cannot give.
telefon ATS bera olmaydigan narsani so‘rayapti.
телефон просит того, чего АТС дать не может.
@cause.other.do
This says it in words, with the remedy: python3 manage.py why {number}
Sababi va chorasini so‘z bilan shu buyruq aytadi: python3 manage.py why {number}
Причину и решение словами скажет команда: python3 manage.py why {number}
@network.addresses
This machine has these addresses: {addresses}
Bu kompyuterning manzillari: {addresses}
Адреса этой машины: {addresses}
@network.none
This machine has no network address but 127.0.0.1.
Bu kompyuterda 127.0.0.1 dan boshqa tarmoq manzili yo‘q.
У этой машины нет сетевого адреса, кроме 127.0.0.1.
@network.none.do
Connect it to its network.
Uni tarmoqqa ulang.
Подключите её к сети.
@domain.default
SIP_DOMAIN is not set: phones are given {server}.
SIP_DOMAIN ko‘rsatilmagan: telefonlarga {server} beriladi.
SIP_DOMAIN не задан: телефонам даётся {server}.
@domain.private
{server} is an address of the local network: phones on mobile data or elsewhere cannot reach it. For them, set SIP_DOMAIN and EXTERNAL_IP in .env.
{server} ichki tarmoq manzili: mobil internetdagi yoki boshqa joydagi telefonlar unga yetib bora olmaydi. Ular uchun .env da SIP_DOMAIN va EXTERNAL_IP ni ko‘rsating.
{server} — адрес локальной сети: телефоны на мобильном интернете или в другом месте до него не дойдут. Для них задайте в .env SIP_DOMAIN и EXTERNAL_IP.
@domain.ok
{server} leads to this machine ({address}).
{server} shu kompyuterga olib keladi ({address}).
{server} ведёт на эту машину ({address}).
@domain.external
{server} leads to {address}, which is EXTERNAL_IP.
{server} {address} ga olib boradi, bu EXTERNAL_IP ning o‘zi.
{server} ведёт на {address}, а это и есть EXTERNAL_IP.
@domain.hosts
{server} leads to {address} here, which is this machine itself by /etc/hosts; what other devices see cannot be told from that.
{server} bu yerda {address} ga olib boradi, bu /etc/hosts bo‘yicha shu kompyuterning o‘zi; boshqa qurilmalar nimani ko‘rishini bundan bilib bo‘lmaydi.
{server} здесь ведёт на {address}, то есть по /etc/hosts на саму эту машину; что видят другие устройства, отсюда не узнать.
@domain.bind
{setting}={server} is given to phones, but it means “this machine itself” to whoever reads it: no phone can reach that.
{setting}={server} telefonlarga beriladi, lekin uni o‘qigan har kim uchun u “shu qurilmaning o‘zi” degani: birorta telefon unga yetib bora olmaydi.
{setting}={server} сообщается телефонам, но для любого, кто его читает, это «само это устройство»: ни один телефон туда не попадёт.
@domain.bind.do
Write the name or address that people type into their phones into .env, or take the line out, and restart the PBX. Where the PBX listens is SIP_HOST and stays as it is.
.env ga odamlar telefonlariga yozadigan nom yoki manzilni yozing yoki bu qatorni olib tashlang va ATSni qayta ishga tushiring. ATS qayerda tinglashi SIP_HOST da, u o‘zgarmaydi.
Укажите в .env имя или адрес, который люди вводят в телефоны, или уберите эту строку и перезапустите АТС. Где АТС слушает, задаёт SIP_HOST, его не трогайте.
@domain.unresolved
The name {server} ({setting}) leads to no address: a phone with it finds nothing.
{server} nomi ({setting}) hech qanday manzilga olib bormaydi: bu nom yozilgan telefon hech narsa topmaydi.
Имя {server} ({setting}) не ведёт ни на какой адрес: телефон с ним ничего не найдёт.
@domain.unresolved.do
Correct the name in .env, or make its DNS record (type A) at your domain's provider.
.env dagi nomni to‘g‘rilang yoki domen provayderingizda uning DNS yozuvini (A turi) yarating.
Исправьте имя в .env или создайте его запись DNS (тип A) у провайдера домена.
@domain.elsewhere
{server} leads to {address}, which is not this machine.
{server} {address} ga olib boradi, bu esa shu kompyuter emas.
{server} ведёт на {address}, а это не эта машина.
@domain.elsewhere.do
If {address} is the public address of the router in front, write EXTERNAL_IP={address} into .env. If not, correct SIP_DOMAIN or its DNS record.
{address} oldingizdagi routerning tashqi manzili bo‘lsa, .env ga EXTERNAL_IP={address} deb yozing. Bo‘lmasa, SIP_DOMAIN ni yoki uning DNS yozuvini to‘g‘rilang.
Если {address} — внешний адрес роутера перед этой машиной, укажите EXTERNAL_IP={address} в .env. Если нет, исправьте SIP_DOMAIN или его запись DNS.
@ping.ok
A SIP question (OPTIONS) to {address} port {port} was answered: {answer}
{address} {port}-portga yuborilgan SIP so‘roviga (OPTIONS) javob keldi: {answer}
На вопрос SIP (OPTIONS) на {address}, порт {port}, пришёл ответ: {answer}
@ping.silent
A SIP question (OPTIONS) to {address} port {port} got no answer.
{address} {port}-portga yuborilgan SIP so‘roviga (OPTIONS) javob kelmadi.
На вопрос SIP (OPTIONS) на {address}, порт {port}, ответа нет.
@ping.silent.do
Restart the PBX and read the end of its log. If it answers on 127.0.0.1 only, a firewall on this machine stops the rest.
ATSni qayta ishga tushiring va jurnalining oxirini o‘qing. U faqat 127.0.0.1 da javob bersa, qolganini shu kompyuterdagi faervol to‘sib turibdi.
Перезапустите АТС и прочитайте конец её журнала. Если она отвечает только на 127.0.0.1, остальное задерживает файрвол этой машины.
@env.unseen
.env can be read by its owner or root only, so the settings in it are not known here: {sudo}
.env ni faqat egasi yoki root o‘qiy oladi, shu sababli undagi sozlamalar bu yerda noma’lum: {sudo}
Файл .env может читать только его владелец или root, поэтому его настройки здесь неизвестны: {sudo}
@sum.none
No problem found on this machine.
Bu kompyuterda muammo topilmadi.
На этой машине проблем не найдено.
@sum.some
Problems found: {count}
Topilgan muammolar soni: {count}
Найдено проблем: {count}
@sum.unseen
What could not be seen without root: {count}. Once more with it: {sudo}
Rootsiz ko‘rib bo‘lmagani: {count} ta. U bilan yana bir bor: {sudo}
Не удалось увидеть без root: {count}. Ещё раз с ним: {sudo}
@more
One phone does not work? `{why}` says why. The whole server: `{doctor}`
Bitta telefon ishlamayaptimi? Sababini `{why}` aytadi. Butun server uchun: `{doctor}`
Не работает один телефон? Причину скажет `{why}`. Весь сервер: `{doctor}`
TEXTS
}

# --- language and output -----------------------------------------------------------------------------------------

choose_language() { # as `manage.py` does: LANGUAGE_CODE, else the first of three that is set
    LANGUAGE=$(setting LANGUAGE_CODE)
    case $LANGUAGE in
        uz | ru | en) ;;
        *)
            LANGUAGE=${LOCALE:0:2}
            case ${LOCALE:2:1} in [A-Za-z]) LANGUAGE=en ;; esac
            ;;
    esac
    case $LANGUAGE in uz | ru | en) ;; *) LANGUAGE=en ;; esac
    case ${LOCALE,,} in # a terminal that says it cannot show these letters
        *.utf8* | *.utf-8*) ;;
        *.*) LANGUAGE=en ;;
    esac
}

load_texts() {
    local line key="" row=0 wanted
    case $LANGUAGE in en) wanted=1 ;; uz) wanted=2 ;; ru) wanted=3 ;; esac
    while IFS= read -r line; do
        case $line in
            @*) key=${line#@} row=0 ;;
            *)
                row=$((row + 1))
                [ "$row" = "$wanted" ] && TEXT[$key]=$line
                ;;
        esac
    done < <(texts)
}

clean() { # of what others wrote, only plain letters reach the terminal
    local text
    text=$(printf '%s' "$1" | head -c 400 | LC_ALL=C tr -c '[:print:]' '?')
    printf '%s' "${text:0:${2:-120}}"
}

t() { # KEY name=value ...: the text with its values
    local text=${TEXT[$1]:-$1} pair
    shift
    for pair in "$@"; do
        text=${text//"{${pair%%=*}}"/"${pair#*=}"}
    done
    printf '%s' "$text"
}

paint() { # COLOUR TEXT: coloured on a terminal only
    if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\033[%sm%s\033[0m' "$1" "$2"; else printf '%s' "$2"; fi
}

head_line() { printf '\n%s\n' "$(paint 1 "$1. $(t "$2" "${@:3}")")"; }
ok() { printf '  %s  %s\n' "$(paint 32 OK)" "$(t "$@")"; }
note() { printf '  %s  %s\n' "$(paint 2 --)" "$(t "$@")"; }

unseen() {
    UNSEEN=$((UNSEEN + 1))
    printf '  %s  %s\n' "$(paint 33 '??')" "$(t "$@" "sudo=sudo $SELF")"
}

problem() { # CODE KEY REMEDY-KEY name=value ...
    local code=$1 key=$2 remedy=$3
    shift 3
    PROBLEMS=$((PROBLEMS + 1))
    printf '  %s  %s\n' "$(paint '1;31' '!!')" "$(paint 1 "$code"): $(t "$key" "$@")"
    printf '      %s %s\n' "$(t "do")" "$(t "$remedy" "$@")"
}

# --- settings ----------------------------------------------------------------------------------------------------

setting() { # NAME [DEFAULT]: the environment wins over .env
    local value=${!1:-} line
    if [ -z "$value" ] && [ -r "$ROOT/.env" ]; then
        while IFS= read -r line || [ -n "$line" ]; do
            line=${line#"${line%%[![:space:]]*}"}
            line=${line#export }
            case $line in
                "$1"=*)
                    value=${line#*=}
                    case $value in
                        \"*) value=${value#\"} value=${value%%\"*} ;;
                        \'*) value=${value#\'} value=${value%%\'*} ;;
                        *) value=${value%%[[:space:]]#*} ;;
                    esac
                    ;;
            esac
        done <"$ROOT/.env"
    fi
    value=${value#"${value%%[![:space:]]*}"}
    value=${value%"${value##*[![:space:]]}"}
    clean "${value:-${2:-}}" 200
}

has() { command -v "$1" >/dev/null 2>&1; }
am_root() { [ "$(id -u)" = 0 ]; }

# --- 1. process --------------------------------------------------------------------------------------------------

cmdline() { # PID: sets CMDLINE; without another process, because it is asked of every one there is
    local words=()
    { mapfile -d '' -t -n 40 words <"/proc/$1/cmdline"; } 2>/dev/null
    CMDLINE="${words[*]:-} "
}

is_here() { # PID: in our network, of this directory and for our port, as far as one may see
    local mine theirs place
    mine=$(readlink /proc/self/ns/net 2>/dev/null)
    theirs=$(readlink "/proc/$1/ns/net" 2>/dev/null)
    [ -z "$theirs" ] || [ "$mine" = "$theirs" ] || return 1
    place=$(readlink "/proc/$1/cwd" 2>/dev/null)
    [ -z "$place" ] || [ "$place" = "$ROOT" ] || return 1
    cmdline "$1"
    case " $CMDLINE" in *" --port $PORT "* | *" --port=$PORT "*) return 0 ;; *" --port"*) return 1 ;; esac
    return 0
}

find_server() { # the processes of `manage.py runsip`
    local place pid
    SERVER_PIDS=()
    for place in /proc/[0-9]*; do
        pid=${place#/proc/}
        cmdline "$pid"
        case $CMDLINE in *manage.py\ runsip\ *) ;; *) continue ;; esac
        place=${CMDLINE%% *}
        case ${place##*/} in python* | manage.py) ;; *) continue ;; esac
        is_here "$pid" && SERVER_PIDS+=("$pid")
    done
}

parent() { sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null; }

find_manager() { # PID: sets MANAGER (pm2, systemd, start or hand) and UNIT
    local pid=$1 unit steps=0
    MANAGER=hand UNIT=""
    unit=$(sed -n 's,.*/\([^/]*\.service\)\(/.*\)\?$,\1,p' "/proc/$1/cgroup" 2>/dev/null | head -n 1)
    while [ -n "$pid" ] && [ "$pid" -gt 1 ] && [ "$steps" -lt 12 ]; do
        cmdline "$pid"
        case $CMDLINE in
            "PM2 "*"God Daemon"* | *pm2/lib/Daemon.js*) MANAGER=pm2; return ;;
            *manage.py\ start*) MANAGER=start ;;
        esac
        pid=$(parent "$pid") steps=$((steps + 1))
    done
    case $unit in
        "" | user@*.service | session-*.service | ssh.service | sshd.service | cron.service | docker.service | \
            containerd.service | getty@*.service | *-daemon.service) ;;
        pm2*.service) MANAGER=pm2 ;;
        *) MANAGER=systemd UNIT=$(clean "$unit" 60) ;;
    esac
}

start_command() {
    if has systemctl && systemctl cat pbx-sip.service >/dev/null 2>&1; then
        printf 'sudo systemctl start pbx-sip'
    elif has pm2; then
        printf 'pm2 start deploy/ecosystem.config.js'
    else
        printf 'python3 manage.py start'
    fi
}

check_process() {
    head_line 1 head.process
    find_server
    if [ ${#SERVER_PIDS[@]} -eq 0 ]; then
        # With hidepid only our own processes are there: /proc/1 is the sign.
        if [ ! -r /proc/1/cmdline ] && ! am_root; then unseen process.hidden; fi
        problem sip_not_running process.none process.none.do "command=$(start_command)"
        return
    fi
    find_manager "${SERVER_PIDS[0]}"
    case $MANAGER in
        hand) note process.byhand "pid=${SERVER_PIDS[*]}" ;;
        pm2) ok process.ok "pid=${SERVER_PIDS[*]}" "manager=PM2" ;;
        start) ok process.ok "pid=${SERVER_PIDS[*]}" "manager=manage.py start" ;;
        systemd) ok process.ok "pid=${SERVER_PIDS[*]}" "manager=systemd ($UNIT)" ;;
    esac
}

# --- 2. port -----------------------------------------------------------------------------------------------------

address_of_hex() { # as in /proc/net/udp: 0100007F, or 32 digits in four little-endian words
    local hex=$1
    if [ ${#hex} = 8 ]; then
        printf '%d.%d.%d.%d' "0x${hex:6:2}" "0x${hex:4:2}" "0x${hex:2:2}" "0x${hex:0:2}"
    elif [[ $hex =~ ^0+$ ]]; then
        printf '::'
    elif [ "$hex" = 00000000000000000000000001000000 ]; then
        printf '::1'
    else
        printf 'IPv6'
    fi
}

owner_of_inode() { # INODE: the process, if we may see it
    local place
    for place in /proc/[0-9]*/fd/*; do
        if [ "$(readlink "$place" 2>/dev/null)" = "socket:[$1]" ]; then
            place=${place#/proc/}
            printf '%s' "${place%%/*}"
            return
        fi
    done
}

listeners() { # udp|tcp PORT: a line for each, ADDRESS PID (or -)
    local kind=$1 hex line fields local_address pid
    if has ss; then
        ss -H -l -n -p "--$kind" "sport = :$2" 2>/dev/null | while IFS= read -r line; do
            read -ra fields <<<"$line"
            local_address=${fields[3]%:*}
            local_address=${local_address%\%*}
            pid=-
            [[ $line =~ pid=([0-9]+) ]] && pid=${BASH_REMATCH[1]}
            printf '%s %s\n' "${local_address//[\[\]]/}" "$pid"
        done
        return
    fi
    hex=$(printf '%04X' "$2")
    cat "/proc/net/$kind" "/proc/net/${kind}6" 2>/dev/null | while IFS= read -r line; do
        read -ra fields <<<"$line"
        [ "${fields[1]##*:}" = "$hex" ] || continue
        [ "$kind" = udp ] || [ "${fields[3]}" = 0A ] || continue
        pid=$(owner_of_inode "${fields[9]}")
        printf '%s %s\n' "$(address_of_hex "${fields[1]%:*}")" "${pid:--}"
    done
}

is_ours() { # PID
    local pid
    for pid in "${SERVER_PIDS[@]}"; do [ "$pid" = "$1" ] && return 0; done
    return 1
}

check_one_port() { # udp|tcp
    local kind=$1 protocol=${1^^} address pid ours="" foreign="" unknown="" all_loopback=yes
    while read -r address pid; do
        [ -n "$address" ] || continue
        case ", $ours, $unknown, " in *", $address, "*) continue ;; esac # of several workers, each has one
        if [ "$pid" = - ]; then
            unknown+=${unknown:+, }$address
        elif is_ours "$pid"; then
            ours+=${ours:+, }$address
        else
            foreign="$(clean "$(cat "/proc/$pid/comm" 2>/dev/null)" 40) ($pid)"
            continue
        fi
        case $address in 127.* | ::1) ;; *) all_loopback="" ;; esac
        [ "$kind" = udp ] && LISTENS+=("$address")
    done < <(listeners "$kind" "$PORT")
    if [ -n "$foreign" ] && [ -z "$ours" ]; then
        problem port_taken port.taken port.taken.do "protocol=$protocol" "port=$PORT" "program=$foreign"
    elif [ -n "$ours$unknown" ]; then
        if [ -n "$ours" ]; then
            ok port.ok "protocol=$protocol" "port=$PORT" "address=$ours"
        else
            note port.assumed "protocol=$protocol" "port=$PORT" "address=$unknown"
        fi
        if [ -n "$all_loopback" ] && [ "$kind" = udp ]; then
            problem advertises_bind_address port.loopback port.loopback.do "address=${ours:-$unknown}"
        fi
    elif [ ${#SERVER_PIDS[@]} -eq 0 ]; then
        note port.nobody "protocol=$protocol" "port=$PORT"
    else
        problem sip_not_running port.closed port.closed.do "protocol=$protocol" "port=$PORT"
    fi
}

check_port() {
    head_line 2 head.port "port=$PORT"
    LISTENS=()
    check_one_port udp
    check_one_port tcp
}

# --- 3. firewall: what happens to a new packet from outside -------------------------------------------------------

declare -A RULES=() POLICY=()
ENTRIES=()  # chains that the kernel enters
FATE="" BECAUSE=""

read_nft() { # the output of `nft list ruleset` into RULES (by "family table chain"), POLICY and ENTRIES
    local line table="" chain="" depth=0
    RULES=() POLICY=() ENTRIES=()
    while IFS= read -r line; do
        line=${line#"${line%%[![:space:]]*}"}
        case $line in
            "table "*"{") read -r _ family table _ <<<"$line"; table="$family $table"; chain="" depth=1 ;;
            "chain "*"{") read -r _ chain _ <<<"$line"; chain="$table $chain" depth=2; RULES[$chain]="" ;;
            "}") depth=$((depth - 1)); [ "$depth" -lt 2 ] && chain="" ;;
            *"{") depth=$((depth + 1)) ;; # a set, a map
            "type "*" hook "*)
                [ -n "$chain" ] || continue
                case $chain in "ip "* | "inet "*) ;; *) continue ;; esac
                case $line in
                    "type filter hook input "* | "type filter hook prerouting "*) ENTRIES+=("$chain") ;;
                esac
                case $line in *"policy drop"*) POLICY[$chain]=drop ;; *) POLICY[$chain]=accept ;; esac
                ;;
            *) [ -n "$chain" ] && [ "$depth" = 2 ] && RULES[$chain]+=$line$'\n' ;;
        esac
    done
}

read_iptables() { # the output of `iptables -S`, each rule in the words of nft
    local line word words rule chain i negated
    RULES=() POLICY=() ENTRIES=("INPUT")
    while IFS= read -r line; do
        [[ $line =~ --comment\ (\"[^\"]*\"|[^ ]+) ]] && line=${line/"${BASH_REMATCH[0]}"/}
        read -ra words <<<"$line"
        case ${words[0]:-} in
            -P) POLICY[${words[1]}]=${words[2],,} ;;
            -N) RULES[${words[1]}]="" ;;
            -A)
                chain=${words[1]} rule="" i=2 negated=""
                while [ "$i" -lt ${#words[@]} ]; do
                    word=${words[i]}
                    i=$((i + 1))
                    case $word in
                        !) negated="!= "; continue ;;
                        -p) rule+=" meta l4proto $negated${words[i]}" ;;
                        -i) rule+=" iifname $negated\"${words[i]}\"" ;;
                        -s) rule+=" ip saddr $negated${words[i]}" ;;
                        --dport) rule+=" th dport $negated${words[i]//:/-}" ;;
                        --dports) rule+=" th dport $negated{ ${words[i]//:/-} }" ;;
                        --ctstate | --state) rule+=" ct state ${words[i],,}" ;;
                        -g) rule+=" goto ${words[i]}" ;;
                        -j)
                            case ${words[i]} in
                                ACCEPT | DROP | REJECT | RETURN) rule+=" ${words[i],,}" ;;
                                LOG | NFLOG | ULOG) ;;
                                *) rule+=" jump ${words[i]}" ;;
                            esac
                            ;;
                        -m) ;;
                        --reject-with | --log-*) ;;
                        *) rule+=" unknown $word"; continue ;;
                    esac
                    i=$((i + 1)) negated=""
                done
                RULES[$chain]+=${rule# }$'\n'
                ;;
        esac
    done
}

in_list() { # PORT "5060, 10000-20000" or "{ ... }": succeeds when it is among them; 2 when that cannot be told
    local one low high
    case $2 in *@* | *\$*) return 2 ;; esac
    for one in ${2//[\{\},]/ }; do
        case $one in sip) one=5060 ;; esac
        low=${one%-*} high=${one#*-}
        [[ $low$high =~ ^[0-9]+$ ]] || return 2
        [ "$1" -ge "$low" ] && [ "$1" -le "$high" ] && return 0
    done
    return 1
}

applies() { # RULE PROTOCOL PORT: sets MATCH (yes, no, perhaps), ACTION and TARGET
    local rule=" $1 " protocol=$2 port=$3 number=17 value negated word
    [ "$protocol" = tcp ] && number=6
    MATCH=yes ACTION="" TARGET=""
    [[ $rule =~ comment\ \"[^\"]*\" ]] && rule=${rule/"${BASH_REMATCH[0]}"/}
    [[ $rule =~ log\ (prefix\ \"[^\"]*\"\ )? ]] && rule=${rule/"${BASH_REMATCH[0]}"/}
    while [ -n "${rule// /}" ]; do
        rule=${rule#"${rule%%[! ]*}"}
        word=${rule%% *} rule=${rule#"$word"}
        case $word in
            accept | drop | return) ACTION=$word; return ;;
            reject) ACTION=drop; return ;;
            jump | goto) ACTION=$word; read -r TARGET _ <<<"$rule"; return ;;
            queue | dup | tproxy | redirect | synproxy) MATCH=perhaps; return ;;
            counter | packets | bytes | flags | level | burst) [[ $rule =~ ^\ *[0-9]+ ]] && rule=${rule/"${BASH_REMATCH[0]}"/}; continue ;;
            udp | tcp | th | ct | ip | ip6 | meta | iif | iifname | fib | pkttype | icmp | icmpv6 | arp | ether | l4proto) ;;
            *) MATCH=perhaps; continue ;;
        esac
        case $word in
            icmp | icmpv6 | ip6 | arp) MATCH=no; return ;;
            udp | tcp) [ "$word" = "$protocol" ] || { MATCH=no; return; } ;;
        esac
        # what is compared, and with what: a word, or all within braces
        if [ "$word" != iif ] && [ "$word" != iifname ] && [ "$word" != pkttype ] && [ "$word" != l4proto ]; then
            rule=${rule#"${rule%%[! ]*}"}
            word+=" ${rule%% *}" rule=${rule#"${rule%% *}"}
        fi
        rule=${rule#"${rule%%[! ]*}"}
        negated=""
        case $rule in "!= "*) negated=yes rule=${rule#"!= "} ;; "== "*) rule=${rule#"== "} ;; esac
        if [ "$word" = "fib daddr" ]; then rule=${rule#type }; fi
        if [ "${rule:0:5}" = "vmap " ]; then # a verdict for each value: ours would be a new connection
            value=${rule%%\}*} rule=${rule#*\}}
            MATCH=no
            case $word:$value in
                "ct state:"*"new : accept"*) MATCH=yes ACTION=accept ;;
                "ct state:"*"new : drop"*) MATCH=yes ACTION=drop ;;
                "ct state:"*) ;;
                *) MATCH=perhaps ;;
            esac
            return
        fi
        if [ "${rule:0:1}" = "{" ]; then
            value=${rule%%\}*}
            rule=${rule#*\}}
            value=${value#\{}
        else
            value=${rule%% *}
            rule=${rule#"$value"}
            while [ "${value%,}" != "$value" ]; do # "established, related" and "established,related" are both written
                rule=${rule#"${rule%%[! ]*}"}
                value+=${rule%% *} rule=${rule#"${rule%% *}"}
            done
        fi
        case $word in
            "udp dport" | "tcp dport" | "th dport") in_list "$port" "$value" ;;
            "ct state") case ",${value// /}," in *,new,* | *,untracked,*) true ;; *) false ;; esac ;;
            "meta l4proto" | "ip protocol" | l4proto)
                case ",${value// /}," in *",$protocol,"* | *",$number,"*) true ;; *) false ;; esac ;;
            iif | iifname | "meta iif" | "meta iifname") case $value in *lo | *'lo"') false ;; *) (exit 2) ;; esac ;;
            "meta nfproto") case $value in *ipv4*) true ;; *) false ;; esac ;;
            pkttype | "meta pkttype") case $value in *host* | *unicast*) true ;; *) false ;; esac ;;
            "fib daddr") case $value in *local*) true ;; *) false ;; esac ;;
            *) (exit 2) ;;
        esac
        case $?:$negated in
            0:yes | 1:) MATCH=no; return ;;
            2:*) MATCH=perhaps ;;
        esac
    done
}

walk() { # CHAIN PROTOCOL PORT DEPTH: sets FATE (accept, drop, or nothing when it runs out) and BECAUSE; PERHAPS
    local chain=$1 line prefix action target match
    FATE=""
    [ "$4" -lt 16 ] || return
    prefix=${chain% *}
    while IFS= read -r line; do
        [ -n "$line" ] || continue
        applies "$line" "$2" "$3"
        action=$ACTION target=$TARGET match=$MATCH
        [ "$match" = no ] && continue
        case $action in
            accept | drop)
                if [ "$match" = yes ]; then FATE=$action BECAUSE=$line; return; fi
                [ "$action" = accept ] && PERHAPS=$line
                ;;
            return) if [ "$match" = yes ]; then FATE=""; return; fi ;;
            jump | goto)
                [ "$prefix" = "$chain" ] || target="$prefix $target"
                walk "$target" "$2" "$3" $(($4 + 1))
                if [ -n "$FATE" ] && [ "$match" = yes ]; then return; fi
                [ "$FATE" = accept ] && PERHAPS=$line
                FATE=""
                if [ "$action" = goto ] && [ "$match" = yes ]; then return; fi
                ;;
        esac
    done <<<"${RULES[$chain]:-}"
}

ruling() { # PROTOCOL PORT: sets VERDICT (open, closed, unsure) and BECAUSE
    local chain
    VERDICT=open
    for chain in "${ENTRIES[@]}"; do
        PERHAPS="" BECAUSE=""
        walk "$chain" "$1" "$2" 0
        if [ -z "$FATE" ]; then FATE=${POLICY[$chain]:-accept} BECAUSE="policy $FATE"; fi
        if [ "$FATE" = drop ]; then
            VERDICT=closed
            if [ -n "$PERHAPS" ]; then VERDICT=unsure BECAUSE=$PERHAPS; fi
            return
        fi
    done
}

judge() { # NAME COMMAND-FOR-PORT: say what the rules that were read do
    local name=$1 protocol first
    for protocol in udp tcp; do
        ruling "$protocol" "$PORT"
        say_fate "$name" "$protocol" "$PORT" firewall.closed
    done
    if [ -z "$(setting RTPENGINE_URLS)" ]; then
        first=${RTP_PORTS%-*}
        ruling udp "$first"
        say_fate "$name" udp "$RTP_PORTS" firewall.sound
    fi
}

say_fate() { # NAME PROTOCOL PORT KEY, after VERDICT and BECAUSE
    local command rule
    rule=$(clean "$BECAUSE" 100)
    case $VERDICT in
        open) ok firewall.ok "name=$1" "protocol=$2" "port=$3" ;;
        unsure) note firewall.unsure "name=$1" "protocol=$2" "port=$3" "rule=$rule" ;;
        closed)
            case $1 in
                ufw) command="ufw allow ${3/-/:}/$2" ;;
                nft) command="nft insert rule ${ENTRIES[0]:-inet filter input} $2 dport $3 accept" ;;
                *) command="iptables -I INPUT -p $2 --dport ${3/-/:} -j ACCEPT" ;;
            esac
            problem firewall_closed "$4" firewall.closed.do "name=$1" "protocol=$2" "port=$3" "rule=$rule" \
                "command=$command"
            ;;
    esac
}

ufw_ruling() { # STATUS PROTOCOL PORT: sets VERDICT and BECAUSE
    local line what
    VERDICT=closed BECAUSE="default deny"
    case $1 in *"Default: allow (incoming)"*) VERDICT=open ;; esac
    while IFS= read -r line; do
        case $line in *"(v6)"* | *" OUT "* | *" FWD "*) continue ;; esac
        what=${line%% *}
        case $line in *ALLOW* | *LIMIT* | *DENY* | *REJECT*) ;; *) continue ;; esac
        case $what in
            Anywhere) ;;
            */udp | */tcp) [ "${what#*/}" = "$2" ] || continue; in_list "$3" "$(ports_of_ufw "${what%/*}")" || continue ;;
            [0-9]*) in_list "$3" "$(ports_of_ufw "$what")" || continue ;;
            *) # the name of an application, or an address of this machine
                [ "$VERDICT" = closed ] && case $line in *ALLOW*) VERDICT=unsure BECAUSE=$line ;; esac
                continue
                ;;
        esac
        BECAUSE=$line
        case $line in
            *ALLOW*Anywhere* | *LIMIT*Anywhere*) VERDICT=open ;;
            *ALLOW* | *LIMIT*) VERDICT=unsure; continue ;; # from certain addresses only
            *Anywhere*) VERDICT=closed ;;
            *) continue ;;
        esac
        return
    done <<<"$1"
}

ports_of_ufw() { printf '%s' "${1//:/-}"; }

check_ufw() { # succeeds when ufw rules this machine and was read
    local status
    has ufw || return 1
    if am_root; then
        status=$(ufw status verbose 2>/dev/null)
        case $status in
            *"Status: active"*) ;;
            *"Status: inactive"*) note firewall.inactive; return 1 ;;
            *) return 1 ;;
        esac
        local protocol
        for protocol in udp tcp; do
            ufw_ruling "$status" "$protocol" "$PORT"
            say_fate ufw "$protocol" "$PORT" firewall.closed
        done
        if [ -z "$(setting RTPENGINE_URLS)" ]; then
            ufw_ruling "$status" udp "${RTP_PORTS%-*}"
            say_fate ufw udp "$RTP_PORTS" firewall.sound
        fi
        return 0
    fi
    if grep -qi '^ENABLED=no' /etc/ufw/ufw.conf 2>/dev/null; then note firewall.inactive; fi
    return 1
}

check_firewall() {
    local rules
    head_line 3 head.firewall
    if check_ufw; then
        note firewall.router
        return
    fi
    if ! has nft && ! has iptables && ! has ufw; then
        note firewall.none
    elif ! am_root; then
        unseen firewall.unseen "name=$(has ufw && printf 'ufw, ')$(has nft && printf nft || printf iptables)"
    elif has nft && rules=$(nft list ruleset 2>/dev/null); then
        read_nft <<<"$rules"
        judge nft
        if has iptables-legacy && rules=$(iptables-legacy -S 2>/dev/null) && [[ $rules == *"-A INPUT"* || $rules == *"-P INPUT DROP"* ]]; then
            read_iptables <<<"$rules"
            judge iptables-legacy
        fi
    elif has iptables && rules=$(iptables -S 2>/dev/null); then
        read_iptables <<<"$rules"
        judge iptables
    else
        unseen firewall.unseen "name=$(has nft && printf nft || printf iptables)"
    fi
    note firewall.router
}

# --- 4. log ------------------------------------------------------------------------------------------------------

find_log() { # sets LOG_KIND (file, unit, pm2, none, unseen) and LOG_SOURCE
    local pid=${SERVER_PIDS[0]:-} target home file
    LOG_KIND=none LOG_SOURCE=""
    if [ -n "$LOG_FILE" ]; then LOG_KIND=file LOG_SOURCE=$LOG_FILE; return; fi
    if [ -n "$pid" ]; then
        target=$(readlink "/proc/$pid/fd/2" 2>/dev/null)
        case $target in
            "" | /dev/* | pipe:* | socket:* | anon_inode:* | *" (deleted)") ;;
            *) if [ -r "$target" ]; then LOG_KIND=file LOG_SOURCE=$target; return; fi ;;
        esac
        case $MANAGER in
            systemd) LOG_KIND=unit LOG_SOURCE=$UNIT; return ;;
            pm2)
                home=$(stat -c %U "/proc/$pid" 2>/dev/null)
                home=$(getent passwd "$home" | cut -d: -f6)
                for file in "${PM2_HOME:-/nonexistent}" "$home/.pm2" "$HOME/.pm2"; do
                    file=$file/logs/pbx-system-error.log
                    if [ -r "$file" ]; then LOG_KIND=file LOG_SOURCE=$file; return; fi
                    if [ -e "$file" ]; then LOG_KIND=unseen LOG_SOURCE=$file; fi
                done
                [ "$LOG_KIND" = unseen ] || { LOG_KIND=unseen LOG_SOURCE=PM2; }
                return
                ;;
        esac
        if [ -z "$target" ]; then LOG_KIND=unseen LOG_SOURCE="/proc/$pid/fd/2"; fi
        return
    fi
    # It does not run: what did it say last?
    file=${PM2_HOME:-$HOME/.pm2}/logs/pbx-system-error.log
    if [ -r "$file" ]; then
        LOG_KIND=file LOG_SOURCE=$file
    elif has systemctl && systemctl cat pbx-sip.service >/dev/null 2>&1; then LOG_KIND=unit LOG_SOURCE=pbx-sip.service; fi
}

read_log() {
    case $LOG_KIND in
        file) tail -n "$LOG_LINES" -- "$LOG_SOURCE" 2>/dev/null ;;
        unit) journalctl -q --no-pager -o cat -u "$LOG_SOURCE" -n "$LOG_LINES" --since -1day 2>/dev/null ;;
    esac
}

summarise() { # the log on stdin; own addresses with spaces around in OWN: one line of figures, then cause and number
    LC_ALL=C awk -v own=" $OWN " '
        function local_source(text) {
            sub(/:[0-9]+$/, "", text); gsub(/[][]/, "", text)
            return text ~ /^127\./ || text == "::1" || index(own, " " text " ")
        }
        # text: "[SIP] ...", json: "logger": "sip", "message": "..."
        { at = index($0, "[SIP] "); if (at) line = substr($0, at + 6)
          else if (at = index($0, "\"logger\": \"sip\", \"message\": \"")) line = substr($0, at + 29)
          else next }
        line ~ /^Received message from / {
            split(substr(line, 23), part, " "); source = part[1]; sub(/:$/, "", source)
            asks[source] = (part[2] == "REGISTER")
            # The test phone of manage.py doctor is none, whatever it sends after it has registered.
            if (part[2] == "REGISTER") own_phone[source] = (index(part[3], "~doctor-") == 1)
            if (own_phone[source]) next
            if (part[2] == "OPTIONS" && local_source(source)) next
            if (local_source(source)) inner++; else received++
        }
        line ~ /^Sending 401 / { words = split(line, part, " "); if (!own_phone[part[words]]) asked++ }
        line ~ /^Response sent successfully to / {
            split(substr(line, 31), part, " "); source = part[1]; sub(/:$/, "", source)
            if (own_phone[source]) next
            answered++
            if (part[2] == "200" && asks[source]) { if (local_source(source)) good_inner++; else good++ }
        }
        line ~ /^Registration refused: number=/ {
            if (match(line, / cause=[a-z_]+/)) {
                cause = substr(line, RSTART + 7, RLENGTH - 7); cause = substr(cause, 1, 40); refused++; count[cause]++
                if (match(line, /number=[A-Za-z0-9._-]+/)) last[cause] = substr(line, RSTART + 7, RLENGTH - 7)
            }
        }
        END {
            top = "-"
            for (cause in count) if (top == "-" || count[cause] > count[top]) top = cause
            printf "%d %d %d %d %d %d %d %s %s\n", received, inner, asked, answered, good, good_inner, refused, top, \
                (top in last) ? substr(last[top], 1, 32) : "-"
        }'
}

meaning_key() { # CAUSE: the key of its text
    if [ -n "${TEXT[cause.$1]:-}" ]; then printf 'cause.%s' "$1"; else printf 'cause.other'; fi
}

remedy_key() {
    case $1 in
        no_credential | stale_credential) printf 'cause.credential.do' ;;
        rate_limited) printf 'cause.blocked.do' ;;
        *) if [ -n "${TEXT[cause.$1.do]:-}" ]; then printf 'cause.%s.do' "$1"; else printf 'cause.other.do'; fi ;;
    esac
}

check_log() {
    local received inner asked answered good good_inner refused cause number figures
    head_line 4 head.log
    find_log
    case $LOG_KIND in
        none)
            if [ ${#SERVER_PIDS[@]} -eq 0 ]; then note log.stopped; else note log.none "command=$SELF LOG"; fi
            return
            ;;
        unseen) unseen log.unseen "source=$(clean "$LOG_SOURCE")"; return ;;
        unit)
            if [ -z "$(journalctl -q --no-pager -o cat -u "$LOG_SOURCE" -n 1 2>/dev/null)" ] && ! am_root; then
                unseen log.unseen "source=journalctl -u $LOG_SOURCE"
                return
            fi
            note log.source "source=journalctl -u $LOG_SOURCE"
            ;;
        file) note log.source "source=$(clean "$LOG_SOURCE")" ;;
    esac
    figures=$(read_log | summarise)
    read -r received inner asked answered good good_inner refused cause number <<<"$figures"
    [ "$number" = - ] && number=1001
    if [ "$received" = 0 ] && [ "$good_inner" -gt 0 ]; then
        note log.local "count=$good_inner"
    elif [ $((received + inner)) = 0 ]; then
        if [ ${#SERVER_PIDS[@]} -eq 0 ]; then note log.stopped; return; fi
        problem nothing_received log.silent log.silent.do "server=$SERVER" "port=$PORT"
    elif [ $((good + good_inner)) -gt 0 ]; then
        ok log.ok "received=$((received + inner))" "good=$((good + good_inner))"
        if [ "$refused" -gt 0 ]; then
            note log.also "count=$refused" "cause=$cause" "meaning=$(t "$(meaning_key "$cause")")"
        fi
    elif [ "$refused" -gt 0 ]; then
        problem "$cause" log.refused "$(remedy_key "$cause")" "count=$refused" "cause=$cause" "number=$number" \
            "server=$SERVER" "meaning=$(t "$(meaning_key "$cause")")"
    elif [ "$answered" -gt 0 ] && [ "$asked" -gt 0 ]; then
        problem challenge_unanswered log.unanswered log.unanswered.do
    elif [ "$answered" -gt 0 ]; then
        ok log.ok "received=$((received + inner))" "good=0"
    else
        problem reply_lost log.noreply log.noreply.do
    fi
}

# --- 5. network and domain ---------------------------------------------------------------------------------------

own_addresses() { # of this machine, without loopback and link-local ones
    if has ip; then
        ip -o addr show 2>/dev/null | sed -n 's,.* inet6\? \([0-9a-fA-F.:]*\)/.* scope global.*,\1,p'
    else
        hostname -I 2>/dev/null | tr ' ' '\n'
    fi | grep -v '^$' | head -n 12 | tr '\n' ' '
}

route_address() { # the one that packets to the world carry
    if has ip; then
        ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p' | head -n 1
    fi
}

is_address() { [[ $1 =~ ^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$ || $1 == *:* ]]; }
is_loopback() { [[ $1 == 127.* || $1 == ::1 || $1 == localhost ]]; }
is_private() { [[ $1 =~ ^(10\.|192\.168\.|169\.254\.|172\.(1[6-9]|2[0-9]|3[01])\.|100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.|f[cd]|fe80) ]]; }

resolve() { # NAME: its addresses, at most four
    if is_address "$1"; then printf '%s' "$1"; return; fi
    timeout 8 getent ahosts "$1" 2>/dev/null | cut -d' ' -f1 | sort -u | head -n 4 | tr '\n' ' '
}

check_setting_of_domain() { # NAME VALUE: what can be wrong with the value alone; fails when it is
    if [ "$2" = 0.0.0.0 ] || [ "$2" = :: ] || is_loopback "$2"; then
        problem advertises_bind_address domain.bind domain.bind.do "setting=$1" "server=$2"
        return 1
    fi
    if [ -z "$(resolve "$2")" ]; then
        problem domain_not_resolving domain.unresolved domain.unresolved.do "setting=$1" "server=$2"
        return 1
    fi
}

check_domain() {
    local addresses address external=""
    if [ -n "$EXTERNAL" ] && check_setting_of_domain EXTERNAL_IP "$EXTERNAL"; then external=" $(resolve "$EXTERNAL") "; fi
    if [ -z "$DOMAIN" ]; then
        note domain.default "server=$SERVER"
        if is_private "$SERVER" && [ -z "$external" ]; then note domain.private "server=$SERVER"; fi
        return
    fi
    check_setting_of_domain SIP_DOMAIN "$DOMAIN" || return
    addresses=$(resolve "$DOMAIN")
    for address in $addresses; do
        if is_loopback "$address"; then note domain.hosts "server=$DOMAIN" "address=$address"; return; fi
        case " $OWN " in
            *" $address "*)
                ok domain.ok "server=$DOMAIN" "address=$address"
                if is_private "$address" && [ -z "$external" ]; then note domain.private "server=$DOMAIN"; fi
                return
                ;;
        esac
        case $external in *" $address "*) ok domain.external "server=$DOMAIN" "address=$address"; return ;; esac
    done
    problem domain_wrong_address domain.elsewhere domain.elsewhere.do "server=$DOMAIN" "address=${addresses%% *}"
}

sip_question() { # ADDRESS PORT: the first line of the answer to an OPTIONS (RFC 3261 section 11) by UDP
    local host=$1 mark=$RANDOM$RANDOM$RANDOM question
    case $host in *:*) host="[$host]" ;; esac
    question="OPTIONS sip:$host:$2 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK-check-$mark\r\n"
    question+="Max-Forwards: 70\r\nFrom: <sip:check@$host>;tag=$mark\r\nTo: <sip:$host:$2>\r\n"
    question+="Call-ID: check-$mark\r\nCSeq: 1 OPTIONS\r\nUser-Agent: check-sip-connection\r\nContent-Length: 0\r\n\r\n"
    (
        exec 3<>"/dev/udp/$1/$2" || exit
        for _ in 1 2 3; do
            # dd, so that the question leaves in one piece and the answer is read in one
            printf '%b' "$question" | dd bs=65535 count=1 iflag=fullblock >&3
            timeout 1.5 dd bs=65535 count=1 <&3 | head -n 1 | LC_ALL=C tr -cd '[:print:]' | head -c 60 | grep . && exit
        done
    ) 2>/dev/null
}

check_answer() {
    local address answer asked=" " targets=()
    for address in "${LISTENS[@]}"; do
        case $address in
            0.0.0.0 | '*') targets+=(127.0.0.1); [ -n "$ADDRESS" ] && targets+=("$ADDRESS") ;;
            ::) targets+=(::1) ;;
            *) targets+=("$address") ;;
        esac
    done
    for address in "${targets[@]}"; do
        case $asked in *" $address "*) continue ;; esac
        asked+="$address "
        answer=$(sip_question "$address" "$PORT")
        if [[ $answer == "SIP/2.0 "* ]]; then
            ok ping.ok "address=$address" "port=$PORT" "answer=$answer"
        else
            problem sip_not_answering ping.silent ping.silent.do "address=$address" "port=$PORT"
        fi
    done
}

check_network() {
    head_line 5 head.network
    if [ -z "$OWN" ]; then
        problem advertises_bind_address network.none network.none.do
    else
        note network.addresses "addresses=$OWN"
    fi
    check_domain
    check_answer
}

# --- all together ------------------------------------------------------------------------------------------------

main() {
    local asked_language="" bad=""
    declare -gA TEXT=()
    SELF=./check-sip-connection.sh LOG_FILE="" MANAGER=hand UNIT=""
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h) bad=help ;;
            --language) asked_language=${2:-}; [ $# -gt 1 ] && shift ;;
            --language=*) asked_language=${1#*=} ;;
            -?*) bad=$1 ;;
            *) LOG_FILE=$1 ;;
        esac
        shift
    done
    choose_language
    case $asked_language in uz | ru | en) LANGUAGE=$asked_language ;; esac
    load_texts
    case $bad in
        help)
            printf '%s\n\n%s\n\n%s\n%s\n%s\n' "$(t help)" "$(t help.usage)" "$(t help.log)" "$(t help.root)" "$(t help.exit)"
            exit 0
            ;;
        ?*) printf '%s\n' "$(t bad.option "option=$(clean "$bad" 40)")" >&2; exit 125 ;;
    esac
    if [[ $LOG_FILE =~ ^[0-9]{1,32}$ && ! -e $LOG_FILE ]]; then
        printf '%s\n' "$(t bad.number "number=$LOG_FILE" "why=python3 manage.py why $LOG_FILE")" >&2
        exit 125
    fi
    if [ -n "$LOG_FILE" ] && [ ! -r "$LOG_FILE" ]; then
        printf '%s\n' "$(t bad.file "file=$(clean "$LOG_FILE")")" >&2
        exit 125
    fi
    PORT=$(setting SIP_PORT 5060)
    [[ $PORT =~ ^[0-9]{1,5}$ ]] || PORT=5060
    RTP_PORTS=$(setting RTP_PORTS 10000-20000)
    [[ $RTP_PORTS =~ ^[0-9]{1,5}-[0-9]{1,5}$ ]] || RTP_PORTS=10000-20000
    DOMAIN=$(setting SIP_DOMAIN) EXTERNAL=$(setting EXTERNAL_IP)
    OWN=$(own_addresses) OWN=${OWN% } ADDRESS=$(route_address)
    ADDRESS=${ADDRESS:-${OWN%% *}}
    SERVER=${DOMAIN:-${ADDRESS:-127.0.0.1}}
    if [ -e "$ROOT/.env" ] && [ ! -r "$ROOT/.env" ]; then unseen env.unseen; fi
    check_process
    check_port
    check_firewall
    check_log
    check_network
    printf '\n'
    if [ "$PROBLEMS" = 0 ]; then
        paint 32 "$(t sum.none)"
    else
        paint '1;31' "$(t sum.some "count=$PROBLEMS")"
    fi
    printf '\n'
    [ "$UNSEEN" -gt 0 ] && printf '%s\n' "$(t sum.unseen "count=$UNSEEN" "sudo=sudo $SELF")"
    if [ -x "$ROOT/.venv/bin/python" ] || [ -n "${VIRTUAL_ENV:-}" ]; then
        printf '%s\n' "$(t more "why=python3 manage.py why 1001" "doctor=python3 manage.py doctor")"
    fi
    [ "$PROBLEMS" -gt 124 ] && PROBLEMS=124
    exit "$PROBLEMS"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then main "$@"; fi
